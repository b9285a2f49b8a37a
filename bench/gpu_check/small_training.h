#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpu_check/gpu_check.h"
#include "pfc/model/backbone.h"
#include "pfc/train/train_step.h"

namespace pfc::gpu_check {

struct SmallTrainingOptions {
  std::string network = "r18";
  at::ScalarType precision = at::kFloat;  ///< float16 comes with the loss scaler
  std::optional<GemmInput> gemm = {};     ///< of the head; none: the usual one
  std::int64_t batch = 256;
  std::int64_t identities = 1000;
  double sample_rate = 0.3;
};

/// Whole steps, from pixels in host memory to the updates, on few pictures: each of a hundred
/// identities has a picture of its own with noise, so that there is something to learn. Several
/// ranks synchronise their batch normalisation.
class SmallTraining {
 public:
  explicit SmallTraining(const SmallTrainingOptions& options,
                         std::unique_ptr<Communicator> comm = make_self_communicator())
      : comm_(std::move(comm)),
        shard_(options.identities, comm_->rank(), comm_->world()),
        sampler_({.sample_rate = options.sample_rate}, shard_),
        backbone_(on_gpu(options.network, *comm_)),
        head_(head_options(options.gemm), shard_),
        gradients_(backbone_->parameters(), *comm_),
        optimizer_(make_backbone_optimizer("sgd", backbone_->named_parameters(),
                                           {.momentum = 0.9, .weight_decay = 5e-4})),
        training_{*backbone_, head_, gradients_,           *optimizer_,
                  *comm_,     5,     NumberType::kFloat32, options.precision} {
    if (options.precision == at::kHalf) training_.scaler = &scaler_.emplace(kGpu);
    backbone_->train();
    make_batches(options.batch);
  }

  void step() {
    const auto i = static_cast<std::size_t>(steps_) % plans_.size();
    plans_[i].step = steps_;
    plans_[i].classes = sampler_.draw(steps_, plans_[i].labels);
    PendingStep now = train_step(plans_[i], batches_[i], 0.02, training_);
    if (made_) made_->wait();  // one step late, as training does
    made_.emplace(std::move(now));
    ++steps_;
  }
  /// The loss of the last step; waits for it.
  double loss() { return made_->wait().loss; }

 private:
  static constexpr std::int64_t kShown = 100, kBatches = 10;

  static std::shared_ptr<Backbone> on_gpu(const std::string& network, Communicator& comm) {
    auto backbone = make_backbone(network, kDim, 1);
    if (comm.world() > 1) synchronise_batch_norm(*backbone, comm);
    move_to(kGpu, *backbone);
    return backbone;
  }
  static PartialFcOptions head_options(std::optional<GemmInput> gemm) {
    PartialFcOptions options;
    options.table = {.dim = kDim, .device = kGpu};
    options.gemm = gemm;
    return options;
  }

  void make_batches(std::int64_t batch) {
    at::manual_seed(1);
    const at::Tensor pictures = torch::rand({kShown, 112, 112, 3});
    for (std::int64_t i = 0; i < kBatches; ++i) {
      StepPlan& plan = plans_.emplace_back();
      std::vector<std::int64_t> identities;
      for (std::int64_t j = 0; j < batch; ++j) {
        identities.push_back((i * batch + j) % kShown);
        plan.labels.push_back({identities.back()});
        plan.images.push_back(i * batch + j);
      }
      const at::Tensor noisy = pictures.index_select(0, torch::tensor(identities)) * 200 +
                               torch::rand({batch, 112, 112, 3}) * 55;
      const std::int64_t share = batch / comm_->world();
      const at::Tensor pixels =
          noisy.narrow(0, comm_->rank() * share, share).to(at::kByte).contiguous();
      const auto* const first = pixels.const_data_ptr<std::uint8_t>();
      batches_.emplace_back().pixels.assign(first, first + pixels.numel());
      batches_.back().valid.assign(static_cast<std::size_t>(share), 1);
    }
  }

  std::unique_ptr<Communicator> comm_;
  ClassShard shard_;
  ClassSampler sampler_;
  std::shared_ptr<Backbone> backbone_;
  PartialFc head_;
  GradientBuckets gradients_;
  std::unique_ptr<BackboneOptimizer> optimizer_;
  std::optional<LossScaler> scaler_;
  Training training_;
  std::vector<StepPlan> plans_;
  std::vector<Batch> batches_;
  std::optional<PendingStep> made_;
  std::int64_t steps_ = 0;
};

}  // namespace pfc::gpu_check
