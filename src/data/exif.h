#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>

#include "pfc/data/image_codec.h"

namespace pfc {

/// The orientation in EXIF: 1 upright, 2 to 8 mirrored or turned. `exif` is a TIFF structure, with
/// or without "Exif\0\0" before it. 1 if it says nothing that can be read.
int exif_orientation(std::span<const std::byte> exif);

/// The size of an image of `size` pixels after it is turned upright.
ImageSize upright(ImageSize size, int orientation);
/// Writes an image of `size` upright into `out`, pixels [height, width, 3].
void turn_upright(std::span<const std::uint8_t> pixels, ImageSize size, int orientation,
                  std::uint8_t* out);

}  // namespace pfc
