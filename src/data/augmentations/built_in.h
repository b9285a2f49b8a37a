#pragma once

#include "pfc/data/augmentation.h"

// Each is a file of its name here, and is registered in the list of augmentation.cpp.

namespace pfc {

Augmentation crop_augmentation();
Augmentation grey_augmentation();

}  // namespace pfc
