#include "train/device.h"

#include <c10/core/ScalarType.h>

#include <string>

#include "head/kernels/kernels_cuda.h"
#include "pfc/base/error.h"
#include "pfc/base/memory.h"
#include "pfc/comm/gpus.h"

namespace pfc {
namespace {

at::Device device_of(const Config& config, const Communicator& comm) {
  if (config.train.device == UseGpus::kAlways && comm.device().is_cpu())
    throw Error("train.device is cuda, but the ranks that are to train work on CPUs");
  return comm.device();
}

at::ScalarType precision_of(const Config& config, at::Device device) {
  if (!config.train.precision) return usual_precision(device);
  if (config.train.precision == Precision::kFloat32) return at::kFloat;
  if (config.train.precision == Precision::kBFloat16) return at::kBFloat16;
  if (device.is_cpu()) throw Error("train.precision is float16, which is a GPU's: use bfloat16");
  return at::kHalf;
}

}  // namespace

at::ScalarType usual_precision(at::Device device) {
  if (device.is_cpu()) return at::kFloat;
  return gpu_properties(device.index()).has_bfloat16 ? at::kBFloat16 : at::kHalf;
}

ComputeOn choose_device(const Config& config, const Communicator& comm) {
  const at::Device device = device_of(config, comm);
  const at::ScalarType precision = precision_of(config, device);
  if (precision == at::kHalf && config.head.update == CenterOptimizer::Update::kDenseEquivalent) {
    throw Error(
        "train.precision is float16, whose steps may be skipped, which head.update = "
        "\"dense_equivalent\" does not allow for; use train.precision=bfloat16");
  }
  if (device.is_cuda() && config.model.embedding_size % kernels::cuda::kWidth != 0) {
    throw Error("model.embedding_size is " + std::to_string(config.model.embedding_size) +
                ", on a GPU it must be a multiple of " + std::to_string(kernels::cuda::kWidth));
  }
  return {device, precision};
}

FreeMemory free_memory(at::Device device, const Placement& place) {
  const std::int64_t host = available_memory() / place.local_world;
  if (device.is_cpu()) return {.device = host, .host = host};
  return {.device = gpu_properties(device.index()).free_bytes / place.ranks_on_gpu, .host = host};
}

std::string out_of_memory(const std::string& thrown) {
  return out_of_gpu_memory(thrown,
                           "lower train.batch_size, raise train.micro_batches, or lower "
                           "head.workspace_mb; `pfc plan` shows what fits");
}

}  // namespace pfc
