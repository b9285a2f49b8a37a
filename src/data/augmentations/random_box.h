#pragma once

#include <optional>

#include "data/augmentations/changes.h"

namespace pfc {

struct BoxLimits {
  double least_area, most_area;  ///< as shares of the image
  double most_aspect;            ///< how much wider than high, or higher than wide
};

/// Draws area, aspect and place, up to ten times until the box fits into the image, as torchvision
/// does. None if it never does.
std::optional<ImageBox> draw_box(const ImageView& image, const BoxLimits& limits,
                                 AugmentationDraws& draws);

/// The same, or else the largest box in the middle whose aspect is allowed (RandomResizedCrop).
ImageBox draw_box_or_middle(const ImageView& image, const BoxLimits& limits,
                            AugmentationDraws& draws);

}  // namespace pfc
