#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "model/batch_norm.h"
#include "pfc/comm/communicator.h"

namespace pfc {

// The layers of the networks here, with the parameter names of the same layers in torch::nn.
// Parameters are left uninitialised: torch::nn's constructors draw them from the process-wide
// generator, but these must depend only on a seed.

/// Makes a Layer from `arguments` and registers it with `owner`.
template <class Layer, class... Arguments>
std::shared_ptr<Layer> add(torch::nn::Module& owner, const std::string& name,
                           Arguments&&... arguments) {
  return owner.register_module(name,
                               std::make_shared<Layer>(std::forward<Arguments>(arguments)...));
}

struct ConvShape {
  std::int64_t in, out;  ///< channels
  std::int64_t kernel;   ///< height and width
  std::int64_t stride = 1;
  std::int64_t padding = kernel / 2;  ///< keeps the size at stride 1
  std::int64_t groups = 1;            ///< as many as `in`: depthwise
};

/// Convolution without bias.
class Conv : public torch::nn::Module {
 public:
  explicit Conv(const ConvShape& shape);
  torch::Tensor forward(const torch::Tensor& x) const;

  torch::Tensor weight;  ///< [out, in / groups, kernel, kernel]

 private:
  ConvShape shape_;
};

/// Mean and variance of each channel, over all tensors that are added.
class ChannelMoments {
 public:
  /// x [b, channels] or [b, channels, h, w]
  void add(const torch::Tensor& x);
  std::int64_t count() const { return count_; }  ///< values of a channel
  torch::Tensor mean() const { return mean_; }   ///< [channels] float64
  torch::Tensor variance() const { return squares_ / count_; }

 private:
  std::int64_t count_ = 0;
  torch::Tensor mean_, squares_;  ///< squares_: the sum of (x − mean)²
};

/// Batch normalisation of [b, channels] or [b, channels, h, w].
class BatchNorm : public torch::nn::Module {
 public:
  static constexpr double kEpsilon = 1e-5;

  explicit BatchNorm(std::int64_t channels, double epsilon = kEpsilon, bool has_affine = true);
  /// Followed by a PReLU of `slope` [channels] and the sum with `residual`, where they are given.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& slope = {},
                        const torch::Tensor& residual = {});
  /// The sum with `residual`, and what `next` makes of it.
  NormedSum forward_into(BatchNorm& next, const torch::Tensor& x, const torch::Tensor& residual);
  /// From now on, training normalises over the images of all ranks of `comm`, which must outlive
  /// this.
  void synchronise(Communicator& comm) { comm_ = &comm; }
  /// From now on, evaluation adds its inputs to `moments`; null ends this.
  void observe(ChannelMoments* moments) { moments_ = moments; }
  double epsilon() const { return epsilon_; }

  torch::Tensor weight, bias;               ///< [channels], undefined without has_affine
  torch::Tensor running_mean, running_var;  ///< [channels] used by evaluation
  torch::Tensor num_batches_tracked;        ///< [] int64

 private:
  /// Counts a batch.
  BatchNormState begin_training();

  double epsilon_;
  Communicator* comm_ = nullptr;
  ChannelMoments* moments_ = nullptr;
};

class PRelu : public torch::nn::Module {
 public:
  explicit PRelu(std::int64_t channels);

  torch::Tensor weight;  ///< [channels] slope of negative values
};

/// The product of two thin matrices, up·down, that is added to a linear layer's weight: what trains
/// while the weight itself is frozen (Hu et al., "LoRA", ICLR 2022, with α = rank).
class LowRank : public torch::nn::Module {
 public:
  LowRank(std::int64_t in, std::int64_t out, std::int64_t rank);

  torch::Tensor down;  ///< [rank, in]
  torch::Tensor up;    ///< [out, rank], zeros at first, so that training begins where it stood
};

/// Whether a tensor of this name in a state_dict belongs to a LowRank.
bool is_low_rank(std::string_view name);

class Linear : public torch::nn::Module {
 public:
  Linear(std::int64_t in, std::int64_t out, bool has_bias = true);
  torch::Tensor forward(const torch::Tensor& x) const;

  /// Registers a LowRank as `lora`.
  void add_low_rank(std::int64_t rank);
  /// Adds it to the weight and drops it. Nothing where there is none.
  void merge_low_rank();
  const std::shared_ptr<LowRank>& low_rank() const { return low_rank_; }

  torch::Tensor weight;  ///< [out, in]
  torch::Tensor bias;    ///< [out], undefined if there is none

 private:
  std::shared_ptr<LowRank> low_rank_;
};

/// Normalisation of each row of [..., channels].
class LayerNorm : public torch::nn::Module {
 public:
  explicit LayerNorm(std::int64_t channels);
  torch::Tensor forward(const torch::Tensor& x) const;

  torch::Tensor weight, bias;  ///< [channels]
};

}  // namespace pfc
