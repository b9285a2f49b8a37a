#include "head/online_softmax.h"

#include <ATen/Functions.h>

#include <cmath>

#include "head/kernels/kernels.h"

namespace pfc {

OnlineSoftmax::OnlineSoftmax(std::int64_t samples, std::int64_t dim)
    : maximum(at::empty({samples}, at::kFloat)),
      sum(at::empty({samples}, at::kFloat)),
      d_embeddings(at::empty({samples, dim}, at::kFloat)),
      scratch_(at::empty({samples}, at::kFloat)) {}

void OnlineSoftmax::clear() {
  maximum.fill_(kNoLogit);
  sum.zero_();
  d_embeddings.zero_();
}

void OnlineSoftmax::raise(std::int64_t sample, float largest) {
  float& most = maximum.data_ptr<float>()[sample];
  if (!(largest > most)) return;
  const float shrink = std::exp(most - largest);
  most = largest;
  sum.data_ptr<float>()[sample] *= shrink;
  const std::int64_t dim = d_embeddings.size(1);
  float* const row = d_embeddings.data_ptr<float>() + sample * dim;
  for (std::int64_t j = 0; j < dim; ++j) row[j] *= shrink;
}

void OnlineSoftmax::add(const at::Tensor& cosines, const at::Tensor& unit, double scale) {
  const std::int64_t classes = cosines.size(0), samples = cosines.size(1);
  const auto s = static_cast<float>(scale);
  float* const tile = cosines.data_ptr<float>();
  float* const scratch = scratch_.fill_(kNoLogit).data_ptr<float>();
  kernels::column_max(tile, classes, samples, scratch);
  for (std::int64_t i = 0; i < samples; ++i) {
    raise(i, s * scratch[i]);
    const float shift = maximum.const_data_ptr<float>()[i];
    scratch[i] = shift == kNoLogit ? 0 : shift;  // nothing but masked classes so far: exp(−∞)
  }
  kernels::exp_columns(tile, classes, samples, s, scratch, sum.data_ptr<float>());
  d_embeddings.addmm_(cosines.t(), unit);
}

void OnlineSoftmax::merge(const OnlineSoftmax& other) {
  const std::int64_t dim = d_embeddings.size(1);
  for (std::int64_t i = 0; i < maximum.size(0); ++i) {
    const float theirs = other.maximum.const_data_ptr<float>()[i];
    raise(i, theirs);
    const float most = maximum.const_data_ptr<float>()[i];
    const float shrink = theirs == most ? 1 : std::exp(theirs - most);
    sum.data_ptr<float>()[i] += shrink * other.sum.const_data_ptr<float>()[i];
    float* const row = d_embeddings.data_ptr<float>() + i * dim;
    const float* const their_row = other.d_embeddings.const_data_ptr<float>() + i * dim;
    for (std::int64_t j = 0; j < dim; ++j) row[j] += shrink * their_row[j];
  }
}

}  // namespace pfc
