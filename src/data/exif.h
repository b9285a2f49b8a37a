#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>

#include "pfc/data/image_codec.h"

namespace pfc {

/// How a camera was held, as EXIF says it: 1 as the pixels lie, 2 to 8 mirrored or turned. `exif`
/// is a TIFF structure, "Exif\0\0" before it or not. 1 where it says nothing that can be read.
int exif_orientation(std::span<const std::byte> exif);

/// The size of an image of `size` pixels once it stands upright.
ImageSize upright(ImageSize size, int orientation);
/// Writes the pixels [height, width, 3] of an image of `size` upright into `out`.
void turn_upright(std::span<const std::uint8_t> pixels, ImageSize size, int orientation,
                  std::uint8_t* out);

}  // namespace pfc
