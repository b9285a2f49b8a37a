// The theorems of the head, and what else a GPU must do, on this machine's first one.
#include <gtest/gtest.h>

#include <cstdio>

#include "head/test_device.h"
#include "pfc/comm/gpus.h"

namespace pfc {

std::vector<TestDevice> test_devices() {
  const at::Device gpu(at::kCUDA, 0);
  return {{.name = "Gpu", .device = gpu, .tolerance = 1e-4},
          {.name = "GpuHostMemory", .device = gpu, .in_host_memory = true, .tolerance = 1e-4}};
}

}  // namespace pfc

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (pfc::gpus() == 0) {
    std::printf("no GPU here: not run\n");
    return 77;
  }
  return RUN_ALL_TESTS();
}
