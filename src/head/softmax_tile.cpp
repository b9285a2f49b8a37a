#include "head/softmax_tile.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "head/kernels/kernels.h"

namespace pfc {
namespace {

/// Classes that one thread works on at a time: 64 columns of them fill a first-level cache of 16
/// KiB.
constexpr std::int64_t kChunk = 64;

/// Calls body(chunk's number, first row, rows) for every chunk of the tile's rows, on all threads.
template <typename Body>
void for_each_chunk(const at::Tensor& tile, const Body& body) {
  const std::int64_t rows = tile.size(0);
  at::parallel_for(0, (rows + kChunk - 1) / kChunk, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t chunk = begin; chunk < end; ++chunk) {
      body(chunk, chunk * kChunk, std::min(kChunk, rows - chunk * kChunk));
    }
  });
}

at::Tensor partial_results(const at::Tensor& tile, double fill) {
  return at::full({(tile.size(0) + kChunk - 1) / kChunk, tile.size(1)}, fill, tile.options());
}

}  // namespace

void mask_above(const at::Tensor& tile, double threshold) {
  const std::int64_t batch = tile.size(1);
  float* const data = tile.data_ptr<float>();
  for_each_chunk(tile, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    kernels::mask_above(data + row * batch, rows, batch, static_cast<float>(threshold));
  });
}

void raise_maximum(const at::Tensor& tile, double scale, const at::Tensor& maximum) {
  const std::int64_t batch = tile.size(1);
  const float* const data = tile.const_data_ptr<float>();
  const at::Tensor partial = partial_results(tile, -std::numeric_limits<double>::infinity());
  float* const results = partial.data_ptr<float>();
  for_each_chunk(tile, [&](std::int64_t chunk, std::int64_t row, std::int64_t rows) {
    kernels::column_max(data + row * batch, rows, batch, results + chunk * batch);
  });
  at::Tensor raised = maximum;
  at::maximum_out(raised, maximum, partial.amax(0).mul_(scale));
}

at::Tensor exponentiate(const at::Tensor& tile, double scale, const at::Tensor& shift) {
  const std::int64_t batch = tile.size(1);
  float* const data = tile.data_ptr<float>();
  // exp(−∞ − (−∞)) would be NaN.
  const at::Tensor finite =
      at::where(shift == -std::numeric_limits<double>::infinity(), at::zeros_like(shift), shift);
  const float* const shifts = finite.const_data_ptr<float>();
  const at::Tensor partial = partial_results(tile, 0);
  float* const results = partial.data_ptr<float>();
  for_each_chunk(tile, [&](std::int64_t chunk, std::int64_t row, std::int64_t rows) {
    kernels::exp_columns(data + row * batch, rows, batch, static_cast<float>(scale), shifts,
                         results + chunk * batch);
  });
  return partial.sum(0);
}

}  // namespace pfc
