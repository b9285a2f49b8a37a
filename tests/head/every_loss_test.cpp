// Every loss that is registered, in the streaming head on every device against its formula.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "head/head_case.h"

namespace pfc {
namespace {

class EveryLoss : public OnDevice {
 protected:
  static void expect_of_every_loss(const HeadCase& c) {
    std::apply([&](const auto&... loss) { (expect_of(loss, c), ...); }, Losses());
  }
  static void expect_of(const Loss& loss, HeadCase c) {
    c.head.loss = loss;
    expect_equals_the_formula(GetParam(), c);
  }
};

ON_EVERY_DEVICE(EveryLoss);

TEST_P(EveryLoss, EqualsItsFormula) {
  expect_of_every_loss(usual_case("as usual"));
}

TEST_P(EveryLoss, EqualsItsFormulaOnAnyNumberOfThreads) {
  if (!GetParam().device.is_cpu()) GTEST_SKIP() << "the device has no threads";
  for (const int threads : {1, 3}) {
    HeadCase c = usual_case(std::to_string(threads) + " threads");
    c.threads = threads;
    expect_of_every_loss(c);
  }
}

TEST_P(EveryLoss, EqualsItsFormulaForOtherSettings) {
  const HeadCase c = usual_case("other settings");
  expect_of(ArcFace{.m = 0.5, .slope = ArcFace::Slope::kStraightThrough}, c);
  expect_of(CombinedMargin{.m1 = 1.1, .m2 = 0.3, .m3 = 0.2}, c);
  expect_of(AdaFace{.m = 0.3, .h = 1, .rate = 1}, c);
  expect_of(ElasticFace{.m = 0.35, .sigma = 0.05, .on = ElasticFace::On::kCosine}, c);
  expect_of(MagFace{.l_a = 1, .u_a = 51, .l_m = 0.25, .u_m = 0.6, .lambda = 5}, c);
  expect_of(SubCenterArcFace{.m = 0.3, .centers = 1}, c);
  expect_of(SubCenterArcFace{.m = 0.3, .centers = 7}, c);
}

TEST_P(EveryLoss, EqualsItsFormulaAtAnyRate) {
  for (const double rate : {0.0, 1.0}) {
    HeadCase c = usual_case("rate " + std::to_string(rate));
    c.sample_rate = rate;
    expect_of_every_loss(c);
  }
}

TEST_P(EveryLoss, EqualsItsFormulaWithTheFilter) {
  HeadCase c = usual_case("filter");
  c.head.interclass_filter = 0.2;
  expect_of_every_loss(c);
}

TEST_P(EveryLoss, EqualsItsFormulaWhereProbabilitiesAreComputedTwice) {
  HeadCase c = usual_case("nothing kept");
  c.head.workspace_bytes = 0;
  expect_of_every_loss(c);
  c.name += ", filter";
  c.head.interclass_filter = 0.2;
  expect_of_every_loss(c);
}

TEST_P(EveryLoss, EqualsItsFormulaForSamplesOfWeightZero) {
  HeadCase c = usual_case("weights");
  c.valid = {1, 0, 1, 1, 0, 1, 1};
  expect_of_every_loss(c);
}

TEST_P(EveryLoss, EqualsItsFormulaInMicroBatches) {
  for (const std::int64_t part : {4, 1}) {
    HeadCase c = usual_case("micro-batches of " + std::to_string(part));
    c.part = part;
    c.valid = {1, 0, 1, 1, 1, 1, 1};
    expect_of_every_loss(c);
  }
}

// A GPU has no tiles smaller than 64, which its lanes take in turn.
TEST_P(EveryLoss, EqualsItsFormulaOverManyTiles) {
  HeadCase c = usual_case("many tiles");
  c.classes = 900;
  c.labels = {3, 170, 170, 404, 899, 0, 57};
  expect_of_every_loss(c);
  c.name += ", filter, nothing kept, micro-batches";
  c.head.interclass_filter = 0.2;
  c.head.workspace_bytes = 0;
  c.part = 3;
  expect_of_every_loss(c);
}

TEST_P(EveryLoss, EqualsItsFormulaNearCosinesOfOne) {
  for (const double sign : {1.0, -1.0}) {
    for (const double off : {1e-1, 1e-2}) {
      HeadCase c = usual_case("cosines near " + std::to_string(sign * (1 - off)));
      c.sample_rate = 1;
      c.start = [sign, off](const HeadCase& of, const at::Tensor& weights) {
        return start_near_own_centers(of, weights, sign, off / 5);
      };
      expect_of_every_loss(c);
    }
  }
}

TEST_P(EveryLoss, OfLearntSamplesKeepsItsDigitsAtTheUsualScale) {
  HeadCase c = usual_case("scale 64");
  c.head.scale = 64;
  expect_of_every_loss(c);
}

TEST_P(EveryLoss, GoesOnFromItsNumbersToTheSameBits) {
  const auto check = [](const Loss& loss) {
    SCOPED_TRACE(loss_name(loss));
    HeadCase c = usual_case("resumed");
    c.head.loss = loss;
    HeadOnDevice whole(GetParam(), c), second(GetParam(), c);
    for (std::int64_t step = 0; step < 3; ++step) whole.step(step, 0.1);
    second.set(whole.state());
    const double loss_of_whole = whole.step(3, 0.1).loss;
    EXPECT_EQ(second.step(3, 0.1).loss, loss_of_whole);
    const HeadState want = whole.state(), found = second.state();
    EXPECT_TRUE(found.weights.equal(want.weights));
    EXPECT_EQ(found.moving, want.moving);
  };
  std::apply([&](const auto&... losses) { (check(losses), ...); }, Losses());
}

}  // namespace
}  // namespace pfc
