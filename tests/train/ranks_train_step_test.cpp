// Whole training steps on several ranks compared with the same steps on one.
#include <gtest/gtest.h>
#include <torch/types.h>

#include "pfc/train/cost_model.h"
#include "pfc/train/train_step.h"
#include "ranks.h"

namespace pfc {
namespace {

constexpr std::int64_t kClasses = 41;

struct TestRun {
  std::int64_t batch = 24;
  bool synchronised = true;
  NumberType gather = NumberType::kFloat32;
  std::int64_t micro_batches = 1;
  std::int64_t steps = 20;
  double lr = 0.003;
  std::int64_t dim = 16;
};

struct Outcome {
  std::vector<double> losses, norms;
  at::Tensor parameters;  ///< of the backbone, one behind another
  at::Tensor buffers;
  std::vector<std::int64_t> without_image;  ///< of the last step
  TrafficByCollective sent;                 ///< in all
};

/// Always the same images, so that they can be learnt and rounding is not amplified by chance.
StepPlan plan_of(std::int64_t step, const TestRun& run, const ClassSampler& sampler) {
  StepPlan plan;
  plan.step = step;
  plan.micro_batches = run.micro_batches;
  for (std::int64_t i = 0; i < run.batch; ++i) {
    plan.images.push_back(i);
    plan.labels.push_back({i * 5 % kClasses});
  }
  plan.mirror.assign(plan.images.size(), 0);
  plan.classes = sampler.draw(step, plan.labels);
  return plan;
}

/// This rank's images of the plan. Of all images, the fourth does not decode.
Batch batch_of(const StepPlan& plan, const Communicator& comm) {
  const auto generator = at::detail::createCPUGenerator(1);
  const std::int64_t size = std::ssize(plan.images);
  const at::Tensor patches = torch::randint(0, 256, {size, 7, 7, 3}, generator, at::kByte);
  const at::Tensor all = patches.repeat_interleave(16, 1).repeat_interleave(16, 2);
  Batch batch;
  const std::size_t share = plan.images.size() / static_cast<std::size_t>(comm.world());
  for (std::size_t i = 0; i < share; ++i) {
    const std::size_t place = plan.place(comm.rank(), comm.world(), i);
    const at::Tensor image = all[static_cast<std::int64_t>(place)].contiguous();
    batch.pixels.insert(batch.pixels.end(), image.const_data_ptr<std::uint8_t>(),
                        image.const_data_ptr<std::uint8_t>() + image.numel());
    batch.valid.push_back(place == 4 ? 0 : 1);
  }
  return batch;
}

at::Tensor joined(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.detach().to(at::kFloat).flatten());
  return at::cat(flat);
}

Outcome train(const TestRun& run, Communicator& comm) {
  const ClassShard shard(kClasses, comm.rank(), comm.world());
  const ClassSampler sampler({.sample_rate = 0.5}, shard);
  const auto backbone = make_backbone("tiny", run.dim, 1);
  if (run.synchronised) synchronise_batch_norm(*backbone, comm);
  PartialFc head({.table = {.dim = run.dim}, .scale = 8}, shard);
  GradientBuckets gradients(backbone->parameters(), comm, 1 << 18);
  const auto optimizer = make_backbone_optimizer("sgd", backbone->named_parameters(),
                                                 {.momentum = 0.9, .weight_decay = 5e-4});
  Training training{*backbone, head, gradients, *optimizer, comm, 5, run.gather};
  Outcome result;
  const TrafficByCollective before = comm.traffic();
  for (std::int64_t step = 0; step < run.steps; ++step) {
    const StepPlan plan = plan_of(step, run, sampler);
    const StepResult found = train_step(plan, batch_of(plan, comm), run.lr, training).wait();
    result.losses.push_back(found.loss);
    result.norms.push_back(found.gradient_norm);
    result.without_image = found.without_image;
  }
  result.sent = comm.traffic();
  for (std::size_t i = 0; i < before.size(); ++i) result.sent[i].bytes -= before[i].bytes;
  result.parameters = joined(backbone->parameters());
  result.buffers = joined(backbone->buffers());
  return result;
}

double error(const at::Tensor& found, const at::Tensor& want) {
  return ((found - want).norm() / want.norm()).item<double>();
}

void expect_equals_one_rank(const TestRun& run, double tolerance) {
  const Outcome want = train(run, *make_self_communicator());
  on_ranks([&](Communicator& comm) {
    const Outcome found = train(run, comm);
    for (std::size_t step = 0; step < want.losses.size(); ++step) {
      EXPECT_NEAR(found.losses[step], want.losses[step], tolerance * want.losses[step]) << step;
      EXPECT_NEAR(found.norms[step], want.norms[step], 10 * tolerance * want.norms[step]) << step;
    }
    EXPECT_LT(error(found.parameters, want.parameters), tolerance);
    EXPECT_LT(error(found.buffers, want.buffers), tolerance);
    EXPECT_EQ(found.without_image, want.without_image);
  });
}

TEST(RanksTrainStep, WithSynchronisedBatchNormAStepEqualsOneRanks) {
  expect_equals_one_rank({.steps = 1}, 1e-5);
  expect_equals_one_rank({.micro_batches = 2, .steps = 1}, 1e-5);
}

TEST(RanksTrainStep, WithSynchronisedBatchNormTwentyStepsEqualOneRanks) {
  expect_equals_one_rank({.batch = 12, .steps = 20}, 1e-3);
}

TEST(RanksTrainStep, AllRanksHaveOneBackbone) {
  on_ranks([](Communicator& comm) {
    const Outcome mine = train({.synchronised = false, .steps = 3}, comm);
    const at::Tensor all = comm.all_gather(mine.parameters.unsqueeze(0)).wait();
    for (int rank = 1; rank < comm.world(); ++rank) EXPECT_TRUE(all[rank].equal(all[0])) << rank;
  });
}

TEST(RanksTrainStep, EmbeddingsThatTravelInBFloat16MoveTheLossByTheirPrecision) {
  const Outcome want = train({.steps = 1}, *make_self_communicator());
  on_ranks([&](Communicator& comm) {
    const Outcome found = train({.gather = NumberType::kBFloat16, .steps = 1}, comm);
    EXPECT_NEAR(found.losses[0], want.losses[0], want.losses[0] / 256);
    EXPECT_NE(found.losses[0], want.losses[0]);
    EXPECT_LT(error(found.parameters, want.parameters), 1e-3);
  });
}

TEST(RanksTrainStep, SendsWhatThePlanOfMemoryNetworkAndTimeSays) {
  on_ranks([](Communicator& comm) {
    for (const NumberType gather : {NumberType::kFloat32, NumberType::kBFloat16}) {
      const TestRun run = {.synchronised = false, .gather = gather, .steps = 1, .dim = 512};
      PlanRequest request;
      request.identities = kClasses;
      request.batch_size = run.batch;
      request.network = "tiny";
      request.ranks = comm.world();
      request.gather = gather;
      request.device = device_cost("cpu");
      std::array<double, kCollectives.size()> planned{};
      for (const CollectivePart& part : make_plan(request).collectives) {
        for (const Collective collective : kCollectives) {
          if (part.name.starts_with(name_of(collective)))
            planned[static_cast<std::size_t>(collective)] += part.bytes;
        }
      }
      const Outcome found = train(run, comm);
      for (const Collective collective : kCollectives) {
        const auto i = static_cast<std::size_t>(collective);
        EXPECT_NEAR(static_cast<double>(found.sent[i].bytes), planned[i], 1e-3 * planned[i])
            << name_of(collective);
      }
    }
  });
}

TEST(RanksTrainStep, EveryRankLearnsWhichImagesDidNotDecode) {
  on_ranks([](Communicator& comm) {
    EXPECT_EQ(train({.steps = 1}, comm).without_image, std::vector<std::int64_t>{4});
    EXPECT_EQ(train({.micro_batches = 2, .steps = 1}, comm).without_image,
              std::vector<std::int64_t>{4});
  });
}

}  // namespace
}  // namespace pfc
