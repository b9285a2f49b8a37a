#include "head/upload.h"

#include <ATen/Functions.h>
#include <ATen/core/CachingHostAllocator.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "head/kernels/kernels_cuda.h"

namespace pfc {

void upload_bytes(std::span<const std::byte> bytes, const at::Tensor& to) {
  constexpr std::ptrdiff_t kWord = sizeof(std::uint32_t);
  TORCH_CHECK(std::ssize(bytes) % kWord == 0, bytes.size(), " bytes are no whole words");
  const at::Tensor pinned =
      at::empty({std::ssize(bytes)}, at::TensorOptions(at::kByte).pinned_memory(true));
  std::ranges::copy(bytes, static_cast<std::byte*>(pinned.data_ptr()));
  const auto stream = c10::cuda::getCurrentCUDAStream(to.device().index());
  kernels::cuda::upload_words(static_cast<const std::uint32_t*>(pinned.const_data_ptr()),
                              std::ssize(bytes) / kWord, static_cast<std::uint32_t*>(to.data_ptr()),
                              stream);
  at::getHostAllocator(at::kCUDA)->record_event(
      pinned.data_ptr(), pinned.storage().data_ptr().get_context(), stream.unwrap());
}

void list_on_gpu(const SampledClasses& classes, std::int64_t centers_a_class,
                 const at::Tensor& rows) {
  const at::Tensor others = at::empty({std::ssize(classes.others)}, rows.options());
  upload(std::span(classes.others), others);
  kernels::cuda::list_rows(classes.drawn, others.const_data_ptr<std::int64_t>(), others.size(0),
                           centers_a_class, rows.data_ptr<std::int64_t>(),
                           c10::cuda::getCurrentCUDAStream(rows.device().index()));
}

}  // namespace pfc
