#include "head/gpu_table.h"

#include <ATen/Functions.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <algorithm>

#include "head/table_view.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using kernels::cuda::Table;

class GpuRows final : public TableRows {
 public:
  explicit GpuRows(const TableState& table) : table_(table) {}

  void fill_normal(float deviation) override {
    kernels::cuda::fill_normal(view_of(table_, {}), table_.shard.rows(), deviation,
                               CounterRandom(table_.options.seed, RandomStream::kCentreInit),
                               stream());
  }

  void catch_up() override {
    const at::Tensor missed = missed_there();
    kernels::cuda::catch_up(view_of(table_, missed), table_.shard.rows(),
                            static_cast<std::uint64_t>(2 * table_.history.steps() + 1),
                            CounterRandom(table_.options.seed, RandomStream::kRounding), stream());
  }

  at::Tensor read(std::span<const LocalRow> rows) const override {
    static_assert(sizeof(LocalRow) == sizeof(std::int64_t));
    const at::Tensor numbers =
        at::from_blob(const_cast<LocalRow*>(rows.data()), {std::ssize(rows)}, at::kLong)
            .to(device());
    const at::Tensor missed = missed_there();
    const at::Tensor values = at::empty({std::ssize(rows), table_.options.dim}, float_here());
    kernels::cuda::read_rows(view_of(table_, missed), numbers.const_data_ptr<std::int64_t>(),
                             std::ssize(rows), values.data_ptr<float>(), stream());
    return values.cpu();
  }

 private:
  at::Device device() const { return table_.weights.device(); }
  at::TensorOptions float_here() const { return at::TensorOptions(device()).dtype(at::kFloat); }
  kernels::cuda::Stream stream() const {
    return c10::cuda::getCurrentCUDAStream(device().index()).stream();
  }
  at::Tensor missed_there() const {
    return table_.history.is_kept() ? table_.history.missed().to(device()) : at::Tensor();
  }

  const TableState& table_;
};

}  // namespace

NumberType number_type_of(const at::Tensor& part) {
  return part.defined() && part.scalar_type() == at::kBFloat16 ? NumberType::kBFloat16
                                                               : NumberType::kFloat32;
}

kernels::cuda::Operand operand(const at::Tensor& tensor) {
  using kernels::cuda::GemmType;
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return {tensor.data_ptr(), GemmType::kBFloat16};
    case at::kHalf:
      return {tensor.data_ptr(), GemmType::kFloat16};
    default:
      return {tensor.data_ptr(), GemmType::kFloat32};
  }
}

Table view_of(const TableState& table, const at::Tensor& missed) {
  const auto data = [](const at::Tensor& part) {
    return part.defined() ? part.data_ptr() : nullptr;
  };
  Table view = {.weights = data(table.weights),
                .updates = static_cast<std::int32_t*>(data(table.updates)),
                .steps_seen = static_cast<std::int32_t*>(data(table.history.seen())),
                .to_now = static_cast<const kernels::CatchUp*>(data(missed)),
                .weight_type = number_type_of(table.weights),
                .state_type = table.options.state,
                .dim = table.options.dim,
                .first_class = table.shard.begin().v};
  std::ranges::transform(table.states, view.states.begin(), data);
  return view;
}

std::unique_ptr<TableRows> make_gpu_rows(const TableState& table) {
  return std::make_unique<GpuRows>(table);
}

std::shared_ptr<void> pin_for_gpus(void* begin, std::int64_t bytes) {
  const cudaError_t result =
      cudaHostRegister(begin, static_cast<std::size_t>(bytes), cudaHostRegisterPortable);
  if (result != cudaSuccess) {
    throw Error(
        format("cannot pin %.2f GB of host memory for the class centres: %s; use more ranks, "
               "store them in bfloat16 (head.center_type and head.state_type), or raise what "
               "may be locked (ulimit -l)",
               static_cast<double>(bytes) / 1e9, cudaGetErrorString(result)));
  }
  return {begin, [](void* pinned) { cudaHostUnregister(pinned); }};
}

at::Tensor reserve_on_gpu(std::int64_t bytes, at::Device device) {
  try {
    return at::zeros({bytes}, at::TensorOptions(device).dtype(at::kByte));
  } catch (const c10::OutOfMemoryError&) {
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(
        format("cannot reserve %.2f GB of the GPU's memory for the class centres, %.2f of "
               "%.2f GB are free; use more GPUs, or store them in bfloat16 "
               "(head.center_type and head.state_type); `pfc plan` shows what fits",
               static_cast<double>(bytes) / 1e9, static_cast<double>(free) / 1e9,
               static_cast<double>(total) / 1e9));
  }
}

}  // namespace pfc
