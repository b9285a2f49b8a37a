#pragma once

#include <torch/nn/module.h>

#include <cstdint>

namespace pfc {

// The layers of the networks here, with the parameter names of their namesakes in torch::nn.
// Parameters are left uninitialised: torch::nn's constructors draw theirs from the process-wide
// generator, and these must depend on a seed alone.

/// Convolution without bias, padded to keep the size at stride 1.
class Conv : public torch::nn::Module {
 public:
  Conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride);
  torch::Tensor forward(const torch::Tensor& x) const;

  torch::Tensor weight;  ///< [out, in, kernel, kernel]

 private:
  std::int64_t stride_;
  std::int64_t padding_;
};

/// Batch normalisation of [b, channels] or [b, channels, h, w].
class BatchNorm : public torch::nn::Module {
 public:
  explicit BatchNorm(std::int64_t channels);
  /// Followed by a PReLU of `slope` [channels] where one is given.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& slope = {});

  torch::Tensor weight, bias;               ///< [channels]
  torch::Tensor running_mean, running_var;  ///< [channels] what evaluation normalises with
  torch::Tensor num_batches_tracked;        ///< [] int64
};

class PRelu : public torch::nn::Module {
 public:
  explicit PRelu(std::int64_t channels);

  torch::Tensor weight;  ///< [channels] slope of negative values
};

class Linear : public torch::nn::Module {
 public:
  Linear(std::int64_t in, std::int64_t out);
  torch::Tensor forward(const torch::Tensor& x) const;

  torch::Tensor weight, bias;  ///< [out, in], [out]
};

}  // namespace pfc
