#include "head/test_device.h"

namespace pfc {

std::vector<TestDevice> test_devices() {
  return {{.name = "Cpu"}};
}

}  // namespace pfc
