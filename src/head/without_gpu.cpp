#include "head/gpu_table.h"
#include "head/head_steps.h"
#include "pfc/base/error.h"

// Used in place of the files for GPUs in a build without CUDA.

namespace pfc {
namespace {

[[noreturn]] void refuse() {
  throw Error("this program was built without CUDA: it works on CPUs only");
}

}  // namespace

std::unique_ptr<TableRows> make_gpu_rows(const TableState&) {
  refuse();
}
std::shared_ptr<void> pin_for_gpus(void*, std::int64_t) {
  refuse();
}
at::Tensor reserve_on_gpu(std::int64_t, at::Device) {
  refuse();
}
std::unique_ptr<HeadSteps> make_gpu_head(const PartialFcOptions&, CenterTable&) {
  refuse();
}

}  // namespace pfc
