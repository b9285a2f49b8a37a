#pragma once

#include <deque>

#include "pfc/data/augmentation.h"

// Each augmentation is a file of its name here.

namespace pfc {

Augmentation crop_augmentation();
Augmentation grey_augmentation();

inline std::deque<Augmentation> built_in_augmentations() {
  return {
      crop_augmentation(),
      grey_augmentation(),
  };
}

}  // namespace pfc
