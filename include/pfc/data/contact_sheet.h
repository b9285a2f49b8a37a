#pragma once

#include <span>

#include "pfc/data/image_codec.h"

namespace pfc {

struct ContactSheetOptions {
  int columns = 8;
  int gap = 2;  ///< pixels between images, white
};

/// Lays images of one size out in rows, from the left and from the top; what the last row lacks
/// stays white. Throws Error where there is no image or no column, or where one differs in size
/// from the first.
RgbImage contact_sheet(std::span<const RgbImage> images, const ContactSheetOptions& options);

}  // namespace pfc
