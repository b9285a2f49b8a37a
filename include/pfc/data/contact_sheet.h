#pragma once

#include <span>

#include "pfc/data/image_codec.h"

namespace pfc {

struct ContactSheetOptions {
  int columns = 8;
  int gap = 2;  ///< pixels between images, white
};

/// Arranges images of one size in rows, from left to right and from top to bottom. Unused places in
/// the last row stay white. Throws Error if there is no image or no column, or if an image differs
/// in size from the first.
RgbImage contact_sheet(std::span<const RgbImage> images, const ContactSheetOptions& options);

}  // namespace pfc
