#include "head/upload.h"

#include <ATen/Functions.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "head/kernels/kernels_cuda.h"

namespace pfc {

void upload_bytes(std::span<const std::byte> bytes, const at::Tensor& to) {
  const at::Tensor pinned =
      at::empty({std::ssize(bytes)}, at::TensorOptions(at::kByte).pinned_memory(true));
  std::ranges::copy(bytes, static_cast<std::byte*>(pinned.data_ptr()));
  to.view(at::kByte).narrow(0, 0, std::ssize(bytes)).copy_(pinned, /*non_blocking=*/true);
}

void list_on_gpu(const SampledClasses& classes, const at::Tensor& rows) {
  const at::Tensor others = at::empty({std::ssize(classes.others)}, rows.options());
  upload(std::span(classes.others), others);
  kernels::cuda::list_rows(classes.drawn, others.const_data_ptr<std::int64_t>(), others.size(0),
                           rows.data_ptr<std::int64_t>(),
                           c10::cuda::getCurrentCUDAStream(rows.device().index()));
}

}  // namespace pfc
