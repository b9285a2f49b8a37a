#include "pfc/train/train_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/functional/normalization.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <limits>

#include "pfc/base/error.h"
#include "train/finite.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::int64_t kBatch = 6, kClasses = 10, kDim = 8;

/// A backbone of one linear layer on the mean colour of an image.
class Linear : public Backbone {
 public:
  Linear() : fc_(register_module("fc", torch::nn::Linear(3, kDim))) {}
  torch::Tensor forward(torch::Tensor images) override { return fc_(images.mean({2, 3})); }

  torch::nn::Linear fc_;
};

class TrainStep : public testing::Test {
 protected:
  static std::unique_ptr<BackboneOptimizer> sgd(const Backbone& backbone) {
    return make_backbone_optimizer("sgd", backbone.named_parameters(),
                                   {.momentum = 0.9, .weight_decay = 1e-3});
  }

  TrainStep()
      : head_({.table = {.dim = kDim}, .scale = 8}, ClassShard(kClasses, 0, 1)),
        optimizer_(sgd(backbone_)),
        comm_(make_self_communicator()) {
    at::manual_seed(1);
    backbone_.fc_->reset_parameters();
    const at::Tensor pixels = torch::randint(0, 256, {kBatch, 112, 112, 3}, at::kByte);
    batch_.pixels.assign(pixels.const_data_ptr<std::uint8_t>(),
                         pixels.const_data_ptr<std::uint8_t>() + pixels.numel());
    batch_.valid.assign(kBatch, 1);
    plan_.step = 41;
    plan_.images = {10, 11, 12, 13, 14, 15};
    plan_.mirror.assign(kBatch, 0);
    for (std::int64_t i = 0; i < kBatch; ++i) plan_.labels.push_back({i % 4});
    plan_.classes =
        ClassSampler({.sample_rate = 0.5}, ClassShard(kClasses, 0, 1)).draw(41, plan_.labels);
  }

  StepResult step(double lr, double clip_norm = 0) {
    GradientBuckets gradients(backbone_.parameters(), *comm_);
    Training training{backbone_, head_, gradients, *optimizer_, *comm_, clip_norm};
    return train_step(plan_, batch_, lr, training).wait();
  }

  /// Everything that a step changes, in its initial state: the backbone, a head and an optimizer.
  struct Anew {
    PartialFc head{{.table = {.dim = kDim}, .scale = 8}, ClassShard(kClasses, 0, 1)};
    std::unique_ptr<BackboneOptimizer> optimizer;
    GradientBuckets gradients;
    Training training;

    explicit Anew(TrainStep& test)
        : optimizer(sgd(test.backbone_)),
          gradients(test.backbone_.parameters(), *test.comm_),
          training{test.backbone_, head, gradients, *optimizer, *test.comm_} {
      at::manual_seed(1);
      test.backbone_.fc_->reset_parameters();
    }
  };

  Linear backbone_;
  PartialFc head_;
  std::unique_ptr<BackboneOptimizer> optimizer_;
  std::unique_ptr<Communicator> comm_;
  Batch batch_;
  StepPlan plan_;
};

TEST_F(TrainStep, EqualsAutogradThroughTheWholeModel) {
  // The direct way, in float64: backbone, normalisation, logits of the sampled classes, cross
  // entropy.
  std::vector<std::int64_t> rows, targets;
  for (const SampledPlace place : plan_.classes.targets) targets.push_back(place.v);
  for (const LocalRow row : plan_.classes.rows()) rows.push_back(row.v);
  const at::Tensor images =
      to_network_input(at::from_blob(batch_.pixels.data(), {kBatch, 112, 112, 3}, at::kByte));
  at::Tensor weight = backbone_.fc_->weight.detach().to(at::kDouble).requires_grad_();
  at::Tensor bias = backbone_.fc_->bias.detach().to(at::kDouble).requires_grad_();
  const at::Tensor centers =
      head_.settled_table().weights().index_select(0, at::tensor(rows)).to(at::kDouble);
  const at::Tensor x = images.mean({2, 3}).to(at::kDouble).mm(weight.t()) + bias;
  at::Tensor cosines =
      torch::nn::functional::normalize(x).mm(torch::nn::functional::normalize(centers).t());
  cosines = cosines - 0.4 * torch::one_hot(at::tensor(targets), std::ssize(rows));
  const at::Tensor loss = torch::nn::functional::cross_entropy(8 * cosines, at::tensor(targets));
  loss.backward();
  const at::Tensor want = weight.detach() - 0.5 * (weight.grad() + 1e-3 * weight.detach());

  const StepResult result = step(0.5);
  EXPECT_NEAR(result.loss, loss.item<double>(), 1e-6);
  const double norm =
      std::sqrt((weight.grad().square().sum() + bias.grad().square().sum()).item<double>());
  EXPECT_NEAR(result.gradient_norm, norm, 1e-5 * norm);
  EXPECT_TRUE(backbone_.fc_->weight.to(at::kDouble).allclose(want, 1e-5, 1e-6));
}

TEST_F(TrainStep, ClipsTheBackboneAndNotTheHead) {
  const at::Tensor before = backbone_.fc_->weight.detach().clone(),
                   bias = backbone_.fc_->bias.detach().clone();
  const StepResult result = step(1, 1e-3);
  EXPECT_GT(result.gradient_norm, 1e-3);
  const at::Tensor moved =
      backbone_.fc_->weight.detach() - before + 1e-3 * before;  // without the decay
  const at::Tensor moved_bias = backbone_.fc_->bias.detach() - bias + 1e-3 * bias;
  EXPECT_NEAR(std::sqrt((moved.square().sum() + moved_bias.square().sum()).item<double>()), 1e-3,
              2e-5);
  EXPECT_GT(head_.settled_table().part("momentum").norm().item<double>(), 1e-2);
}

TEST_F(TrainStep, MicroBatchesMakeTheStepOfTheWholeBatch) {
  batch_.valid[4] = 0;
  const StepResult whole = step(0.5);
  const at::Tensor weight = backbone_.fc_->weight.detach().clone(),
                   centers = head_.settled_table().weights().clone();
  for (const std::int64_t micro_batches : {2, 3, 6}) {
    Anew again(*this);
    plan_.micro_batches = micro_batches;
    const StepResult result = train_step(plan_, batch_, 0.5, again.training).wait();
    EXPECT_NEAR(result.loss, whole.loss, 1e-6 * whole.loss);
    EXPECT_NEAR(result.gradient_norm, whole.gradient_norm, 1e-5 * whole.gradient_norm);
    EXPECT_TRUE(backbone_.fc_->weight.allclose(weight, 1e-5, 1e-6));
    EXPECT_TRUE(again.head.settled_table().weights().allclose(centers, 1e-5, 1e-6));
  }
}

TEST_F(TrainStep, AnImageOfWeightZeroChangesNothing) {
  batch_.valid[2] = 0;
  const StepResult without = step(0.5);
  const at::Tensor weight = backbone_.fc_->weight.detach().clone();

  Anew again(*this);
  std::fill_n(batch_.pixels.begin() + 2 * 112 * 112 * 3, 112 * 112 * 3, std::uint8_t{77});
  EXPECT_EQ(train_step(plan_, batch_, 0.5, again.training).wait().loss, without.loss);
  EXPECT_TRUE(backbone_.fc_->weight.equal(weight));
}

TEST_F(TrainStep, AScaledLossMakesTheSameStep) {
  const StepResult plain = step(0.5);
  const at::Tensor weight = backbone_.fc_->weight.detach().clone(),
                   centers = head_.settled_table().weights().clone();
  Anew again(*this);
  LossScaler scaler(at::kCPU);
  again.training.scaler = &scaler;
  const StepResult scaled = train_step(plan_, batch_, 0.5, again.training).wait();
  EXPECT_EQ(scaled.loss, plain.loss);
  EXPECT_NEAR(scaled.gradient_norm, plain.gradient_norm, 1e-6 * plain.gradient_norm);
  EXPECT_TRUE(backbone_.fc_->weight.allclose(weight, 1e-6, 1e-7));
  EXPECT_TRUE(again.head.settled_table().weights().equal(centers));
  EXPECT_EQ(scaler.steps().item<int>(), 1);
}

TEST_F(TrainStep, AStepThatOverflowsIsSkippedByBackboneAndHead) {
  const at::Tensor weight = backbone_.fc_->weight.detach().clone(),
                   centers = head_.settled_table().weights().clone();
  GradientBuckets gradients(backbone_.parameters(), *comm_);
  LossScaler scaler(at::kCPU);
  scaler.factor().fill_(3e38);
  Training training{backbone_, head_, gradients, *optimizer_, *comm_, /*clip_norm=*/5};
  training.scaler = &scaler;
  const StepResult skipped = train_step(plan_, batch_, 0.5, training).wait();
  EXPECT_FALSE(std::isfinite(skipped.gradient_norm));
  EXPECT_NO_THROW(require_finite(skipped, plan_, 0.5, training));
  EXPECT_TRUE(backbone_.fc_->weight.equal(weight));
  EXPECT_TRUE(head_.settled_table().weights().equal(centers));
  EXPECT_FLOAT_EQ(scaler.factor().item<float>(), 1.5e38f);

  scaler.factor().fill_(1024);  // and the next one is made
  EXPECT_TRUE(std::isfinite(train_step(plan_, batch_, 0.5, training).wait().gradient_norm));
  EXPECT_FALSE(backbone_.fc_->weight.equal(weight));
  EXPECT_FALSE(head_.settled_table().weights().equal(centers));
}

TEST_F(TrainStep, InBFloat16IsNearTheStepInFloat32) {
  const StepResult exact = step(0.5);
  const at::Tensor weight = backbone_.fc_->weight.detach().clone();
  Anew again(*this);
  const at::Tensor before = backbone_.fc_->weight.detach().clone();
  again.training.precision = at::kBFloat16;
  const StepResult rounded = train_step(plan_, batch_, 0.5, again.training).wait();
  EXPECT_NE(rounded.loss, exact.loss);
  EXPECT_NEAR(rounded.loss, exact.loss, 0.02 * exact.loss);
  EXPECT_EQ(backbone_.fc_->weight.scalar_type(), at::kFloat);
  const double error = (backbone_.fc_->weight - weight).norm().item<double>();
  EXPECT_LT(error, 0.1 * (weight - before).norm().item<double>());
}

TEST_F(TrainStep, ALossThatIsNotFiniteNamesTheFirstTensor) {
  const at::Tensor centers = head_.settled_table().weights().clone();
  {
    const torch::NoGradGuard no_grad;
    backbone_.fc_->bias[3] = std::numeric_limits<float>::quiet_NaN();
  }
  EXPECT_THAT([&] { step(0.25); }, ThrowsMessage<Error>(testing::AllOf(
                                       HasSubstr("step 41"), HasSubstr("learning rate 0.25"),
                                       HasSubstr("parameter fc.bias"))));
  EXPECT_TRUE(head_.settled_table().weights().equal(centers));
}

TEST_F(TrainStep, ACentreThatIsNotFiniteIsNamed) {
  head_.settled_table().weights()[plan_.labels[1].v][0] = std::numeric_limits<float>::infinity();
  EXPECT_THAT([&] { step(0.25); }, ThrowsMessage<Error>(HasSubstr("the centre of class 1")));
}

TEST_F(TrainStep, ACentreThatIsNotFiniteIsNamedAmongManyThousands) {
  const ClassShard shard(40'000, 0, 1);
  PartialFc head({.table = {.dim = kDim}}, shard);
  head.settled_table().weights()[39'000][3] = std::numeric_limits<float>::quiet_NaN();
  head.settled_table().weights()[39'500][3] = std::numeric_limits<float>::quiet_NaN();
  StepPlan plan;
  plan.classes = ClassSampler({.sample_rate = 1.0}, shard).draw(0, {});
  Anew anew(*this);
  const Training training{backbone_, head, anew.gradients, *anew.optimizer, *comm_};
  EXPECT_THAT([&] { fail_by_loss(plan, 0.25, training); },
              ThrowsMessage<Error>(HasSubstr("the centre of class 39000;")));
}

}  // namespace
}  // namespace pfc
