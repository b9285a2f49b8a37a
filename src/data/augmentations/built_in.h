#pragma once

#include <deque>

#include "pfc/data/augmentation.h"

// Each augmentation is a file of its name here.

namespace pfc {

Augmentation affine_augmentation();
Augmentation blur_augmentation();
Augmentation crop_augmentation();
Augmentation cut_out_augmentation();
Augmentation grey_augmentation();
Augmentation jpeg_augmentation();
Augmentation low_resolution_augmentation();
Augmentation photometric_augmentation();
Augmentation resized_crop_augmentation();

inline std::deque<Augmentation> built_in_augmentations() {
  return {
      affine_augmentation(),         blur_augmentation(),        crop_augmentation(),
      cut_out_augmentation(),        grey_augmentation(),        jpeg_augmentation(),
      low_resolution_augmentation(), photometric_augmentation(), resized_crop_augmentation(),
  };
}

}  // namespace pfc
