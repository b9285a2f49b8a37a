#include "train/recorded_pass.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "head/gpu_memory.h"
#include "head/head_case.h"

namespace pfc {
namespace {

struct Way {
  std::string network;
  std::int64_t micro_batches = 1;
  at::ScalarType precision = at::kFloat;
  bool recorded = true;
  std::int64_t batch = 4;
};

/// A short run on random pixels, all of whose numbers depend on the way alone.
class ShortRun {
 public:
  static constexpr std::int64_t kClasses = 20, kDim = 16;

  explicit ShortRun(const Way& way)
      : batch_(way.batch),
        shard_(kClasses, 0, 1),
        sampler_({.sample_rate = 0.5}, shard_),
        backbone_(make_backbone(way.network, kDim, 1)),
        head_(options(), shard_),
        comm_(make_self_communicator(kGpu)) {
    move_to(kGpu, *backbone_);
    backbone_->train();
    gradients_.emplace(backbone_->parameters(), *comm_);
    optimizer_ = make_backbone_optimizer("sgd", backbone_->named_parameters(),
                                         {.momentum = 0.9, .weight_decay = 5e-4});
    training_.emplace(Training{*backbone_, head_, *gradients_, *optimizer_, *comm_, 5,
                               NumberType::kFloat32, way.precision});
    if (way.precision == at::kHalf) training_->scaler = &scaler_.emplace(kGpu);
    if (!way.recorded) training_->pass = make_plain_pass(*training_);
    plan_.micro_batches = way.micro_batches;
  }

  double step() {
    at::manual_seed(plan_.step + 1);
    const at::Tensor pixels = torch::randint(0, 256, {batch_, 112, 112, 3}, at::kByte);
    const auto* const first = pixels.const_data_ptr<std::uint8_t>();
    Batch batch;
    batch.pixels.assign(first, first + pixels.numel());
    batch.valid.assign(batch_, 1);
    plan_.labels.clear();
    plan_.images.clear();
    for (std::int64_t i = 0; i < batch_; ++i) {
      plan_.labels.push_back({(plan_.step + 3 * i) % kClasses});
      plan_.images.push_back(i);
    }
    plan_.classes = sampler_.draw(plan_.step, plan_.labels);
    const double loss = train_step(plan_, batch, /*lr=*/0.02, *training_).wait().loss;
    ++plan_.step;
    return loss;
  }

  Backbone& backbone() { return *backbone_; }

 private:
  static PartialFcOptions options() {
    PartialFcOptions options;
    options.table = {.dim = kDim, .device = kGpu};
    options.gemm = GemmInput::kFloat32;
    return options;
  }

  std::int64_t batch_;
  ClassShard shard_;
  ClassSampler sampler_;
  std::shared_ptr<Backbone> backbone_;
  PartialFc head_;
  std::unique_ptr<Communicator> comm_;
  std::optional<GradientBuckets> gradients_;
  std::unique_ptr<BackboneOptimizer> optimizer_;
  std::optional<LossScaler> scaler_;
  std::optional<Training> training_;
  StepPlan plan_;
};

class RecordedPass : public testing::TestWithParam<Way> {};

// Of five steps the first is plain, the second is recorded, and the others are launches of the
// record. On a real GPU another algorithm may be chosen for a convolution.
TEST_P(RecordedPass, MakesTheStepsOfThePlainOne) {
  Way way = GetParam();
  ShortRun recorded(way);
  way.recorded = false;
  ShortRun plain(way);
  const double tolerance = way.precision == at::kFloat ? 1e-4 : 2e-2;
  for (int step = 0; step < 5; ++step) {
    const double want = plain.step();
    EXPECT_NEAR(recorded.step(), want, tolerance * want) << "step " << step;
  }
  const auto expect_close = [&](const auto& found, const auto& want) {
    for (const auto& item : want) {
      const at::Tensor of_plain = item.value().cpu().to(at::kDouble),
                       of_recorded = found[item.key()].cpu().to(at::kDouble);
      if (of_plain.equal(of_recorded)) continue;  // zeros, where all steps overflowed
      EXPECT_LE(error_of(of_recorded, of_plain), 10 * tolerance) << item.key();
    }
  };
  expect_close(recorded.backbone().named_buffers(), plain.backbone().named_buffers());
  expect_close(recorded.backbone().named_parameters(), plain.backbone().named_parameters());
}

INSTANTIATE_TEST_SUITE_P(Ways, RecordedPass,
                         testing::Values(Way{"tiny"}, Way{"tiny", 2}, Way{"tiny", 1, at::kBFloat16},
                                         Way{"tiny", 1, at::kHalf}, Way{"mbf"}, Way{"vit_t"},
                                         Way{"vit_t_dp005_mask0", 2}),
                         [](const testing::TestParamInfo<Way>& way) {
                           return way.param.network + "_" + c10::toString(way.param.precision) +
                                  "_" + std::to_string(way.param.micro_batches);
                         });

/// The most memory that steps have reserved, beyond what lay there before.
std::int64_t memory_of(const Way& way) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  at::empty({1}, on_gpu(at::kFloat));  // now there is an allocator
  allocator::emptyCache();
  const std::int64_t before = allocator::getDeviceStats(0).reserved_bytes[kAll].current;
  ShortRun run(way);
  for (int step = 0; step < 4; ++step) run.step();
  return allocator::getDeviceStats(0).reserved_bytes[kAll].current - before;
}

TEST(RecordedPassMemory, IsAboutThatOfThePlainPass) {
  const std::int64_t plain = memory_of({.network = "tiny", .recorded = false, .batch = 16});
  EXPECT_LE(memory_of({.network = "tiny", .batch = 16}), 1.5 * static_cast<double>(plain));
}

}  // namespace
}  // namespace pfc
