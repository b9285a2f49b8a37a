#include "head/online_softmax.h"

#include <ATen/Functions.h>

#include <cmath>
#include <utility>

namespace pfc {
namespace {

/// Ten million classes are some 20,000 tiles of a thread, which is 312 blocks. Float32 sums of 64
/// and of 312 terms keep six digits; a sum of 20,000 does not. One addition for 64 GEMMs costs
/// nothing.
constexpr std::int64_t kTilesInBlock = 64;

double shrink_by(float from, float to) {
  return std::exp(static_cast<double>(from) - static_cast<double>(to));
}

}  // namespace

OnlineSoftmax::OnlineSoftmax(at::Tensor block)
    : maximum(at::empty({block.size(0)}, at::kFloat)),
      sum(at::empty({block.size(0)}, at::kDouble)),
      d_embeddings(at::empty_like(block)),
      block_(std::move(block)),
      scratch_(at::empty_like(maximum)) {}

void OnlineSoftmax::clear() {
  maximum.fill_(kNoLogit);
  sum.zero_();
  d_embeddings.zero_();
  block_.zero_();
  tiles_in_block_ = 0;
}

void OnlineSoftmax::raise(std::int64_t sample, float largest) {
  float& most = maximum.data_ptr<float>()[sample];
  if (!(largest > most)) return;
  const float before = std::exchange(most, largest);
  if (before == kNoLogit) return;  // there is no sum yet
  const double shrink = shrink_by(before, largest);
  sum.data_ptr<double>()[sample] *= shrink;
  const std::int64_t dim = d_embeddings.size(1);
  const auto factor = static_cast<float>(shrink);
  for (const at::Tensor& sums : {d_embeddings, block_}) {
    float* const row = sums.data_ptr<float>() + sample * dim;
    for (std::int64_t j = 0; j < dim; ++j) row[j] *= factor;
  }
}

void OnlineSoftmax::add(const at::Tensor& cosines, const at::Tensor& unit, double scale,
                        const kernels::Others& others) {
  const std::int64_t classes = cosines.size(0), samples = cosines.size(1);
  const auto s = static_cast<float>(scale);
  float* const tile = cosines.data_ptr<float>();
  float* const scratch = scratch_.fill_(kNoLogit).data_ptr<float>();
  kernels::column_max(tile, classes, samples, others, scratch);
  for (std::int64_t i = 0; i < samples; ++i) {
    raise(i, s * scratch[i]);
    const float shift = maximum.const_data_ptr<float>()[i];
    scratch[i] = shift == kNoLogit ? 0 : shift;  // only masked classes so far: exp(−∞)
  }
  kernels::exp_columns(tile, classes, samples, s, scratch, others, sum.data_ptr<double>());
  block_.addmm_(cosines.t(), unit);
  if (++tiles_in_block_ == kTilesInBlock) end_block();
}

void OnlineSoftmax::end_block() {
  d_embeddings.add_(block_);
  block_.zero_();
  tiles_in_block_ = 0;
}

void OnlineSoftmax::finish() {
  if (tiles_in_block_ > 0) end_block();
}

void OnlineSoftmax::merge(const OnlineSoftmax& other) {
  const std::int64_t dim = d_embeddings.size(1);
  for (std::int64_t i = 0; i < maximum.size(0); ++i) {
    const float theirs = other.maximum.const_data_ptr<float>()[i];
    raise(i, theirs);
    const float most = maximum.const_data_ptr<float>()[i];
    const double shrink = theirs == most ? 1 : shrink_by(theirs, most);
    sum.data_ptr<double>()[i] += shrink * other.sum.const_data_ptr<double>()[i];
    const auto factor = static_cast<float>(shrink);
    float* const row = d_embeddings.data_ptr<float>() + i * dim;
    const float* const their_row = other.d_embeddings.const_data_ptr<float>() + i * dim;
    for (std::int64_t j = 0; j < dim; ++j) row[j] += factor * their_row[j];
  }
}

}  // namespace pfc
