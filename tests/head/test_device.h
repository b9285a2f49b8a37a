#pragma once

#include <c10/core/Device.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace pfc {

/// What a theorem of the head is shown on.
struct TestDevice {
  std::string name;
  at::Device device = at::kCPU;
  bool in_host_memory = false;  ///< the table of a GPU
  double tolerance = 1e-5;      ///< of a tensor's numbers, relative to its largest

  friend std::ostream& operator<<(std::ostream& out, const TestDevice& device) {
    return out << device.name;
  }
};

/// Those of the program: the CPU of torch_tests, a GPU of gpu_tests.
std::vector<TestDevice> test_devices();

/// Suites of theorems that hold on every device derive from this; ON_EVERY_DEVICE registers them.
class OnDevice : public testing::TestWithParam<TestDevice> {};

inline std::string name_of_device(const testing::TestParamInfo<TestDevice>& device) {
  return device.param.name;
}
#define ON_EVERY_DEVICE(Suite) \
  INSTANTIATE_TEST_SUITE_P(, Suite, testing::ValuesIn(test_devices()), name_of_device)

}  // namespace pfc
