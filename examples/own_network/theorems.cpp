// Runs what must hold of every augmentation over this program's too: it is registered before
// GoogleTest asks which there are.
#include <gmock/gmock.h>

#include "upside_down.h"

int main(int argc, char** argv) {
  register_upside_down();
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
