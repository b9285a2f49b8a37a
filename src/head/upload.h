#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "pfc/plan/sampler.h"

namespace pfc {

/// Copies host bytes to the begin of a tensor on a GPU, on the current stream and through pinned
/// memory. Nothing waits.
void upload_bytes(std::span<const std::byte> bytes, const at::Tensor& to);

template <class T>
void upload(std::span<const T> numbers, const at::Tensor& to) {
  upload_bytes(std::as_bytes(numbers), to);
}

/// rows [≥ S] int64 on a GPU: its first become the step's rows, so many of each class, on the
/// current stream.
void list_on_gpu(const SampledClasses& classes, std::int64_t centers_a_class,
                 const at::Tensor& rows);

}  // namespace pfc
