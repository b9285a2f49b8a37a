#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/nccl_communicator.h"

// Used in place of the files for GPUs in a build without CUDA.

namespace pfc {

int gpus() {
  return 0;
}

int gpu_of(int) {
  return 0;
}

Gpu gpu_properties(int) {
  throw Error("this program was built without CUDA");
}

std::int64_t peak_gpu_memory(int) {
  throw Error("this program was built without CUDA");
}

std::unique_ptr<Communicator> make_nccl_communicator(const Launch&, std::unique_ptr<Communicator>,
                                                     std::chrono::seconds,
                                                     std::function<void(const std::string&)>) {
  throw Error("this program was built without CUDA");
}

}  // namespace pfc
