#include "pfc/train/backbone_optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/base/names.h"
#include "pfc/head/center_optimizer.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Parameters = BackboneOptimizer::Parameters;

constexpr BackboneOptimizerOptions kOptions{.momentum = 0.9, .weight_decay = 5e-4};

/// An optimizer that the library does not know: Lion (Chen et al., arXiv 2302.06675).
class Lion : public BackboneOptimizer {
 public:
  explicit Lion(const Parameters& parameters)
      : BackboneOptimizer("lion", parameters, {.tensors = {"momentum"}}) {}

 private:
  void update(const Step& step) override {
    const at::Tensor skip = step.skip.to(at::kBool);
    for (std::size_t i = 0; i < step.parameters.size(); ++i) {
      const at::Tensor &w = step.parameters[i], &g = step.gradients[i], &m = step.kept[0][i];
      const at::Tensor moved = w - step.lr * (0.9 * m + 0.1 * g).sign();
      w.copy_(at::where(skip, w, moved));
      m.copy_(at::where(skip, m, 0.99 * m + 0.01 * g));
    }
  }
};

/// Parameters that are the same each time, the last of which wants no gradient.
Parameters parameters() {
  at::manual_seed(3);
  Parameters all;
  all.insert("conv", torch::randn({4, 3, 2, 2}).requires_grad_());
  all.insert("bias", torch::randn(7).requires_grad_());
  all.insert("frozen", torch::randn({5, 6}));
  return all;
}

void set_gradients(const Parameters& parameters, int step) {
  auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(step));
  for (const auto& item : parameters) {
    if (item->requires_grad()) item->mutable_grad() = torch::randn(item->sizes(), generator);
  }
}

void expect_equal(const Parameters& found, const Parameters& want, int step) {
  for (const auto& item : want)
    ASSERT_TRUE(found[item.key()].equal(item.value())) << item.key() << " after step " << step;
}

/// Steps of both, with a learning rate that changes.
template <class Kind, class Options>
void expect_the_steps_of(const Options& options, const char* name,
                         const BackboneOptimizerOptions& ours_options) {
  const Parameters ours = parameters(), theirs = parameters();
  const auto mine = make_backbone_optimizer(name, ours, ours_options);
  Kind reference(theirs.values(), options);
  for (int step = 0; step < 30; ++step) {
    const double lr = 0.1 / (1 + step);
    set_gradients(ours, step);
    set_gradients(theirs, step);
    mine->step(lr, torch::zeros(1));
    for (auto& group : reference.param_groups()) group.options().set_lr(lr);
    reference.step();
    for (const auto& item : theirs) {
      ASSERT_TRUE(ours[item.key()].allclose(item.value(), 1e-5, 1e-6))
          << item.key() << " after step " << step;
    }
  }
}

TEST(BackboneOptimizer, SgdIsTorchs) {
  using torch::optim::SGD;
  using torch::optim::SGDOptions;
  expect_the_steps_of<SGD>(SGDOptions(1).momentum(0.9).weight_decay(5e-4), "sgd", kOptions);
  expect_the_steps_of<SGD>(SGDOptions(1).weight_decay(5e-4), "sgd", {.weight_decay = 5e-4});
}

TEST(BackboneOptimizer, AdamWIsTorchs) {
  expect_the_steps_of<torch::optim::AdamW>(torch::optim::AdamWOptions(1).weight_decay(0.1), "adamw",
                                           {.weight_decay = 0.1});
}

TEST(BackboneOptimizer, IsKnownByItsName) {
  EXPECT_THAT([] { make_backbone_optimizer("adam", parameters(), {}); },
              ThrowsMessage<Error>(HasSubstr("no optimizer named 'adam'; there are sgd, adamw")));
}

/// Those that a configuration can name, and a user's own.
std::vector<std::string> all_names() {
  std::vector<std::string> names = {"lion"};
  for (const std::string_view name : names_of<CenterOptimizer::Kind>()) names.emplace_back(name);
  return names;
}

/// What holds of every optimizer.
class AnyBackboneOptimizer : public testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<BackboneOptimizer> make(const Parameters& parameters,
                                                 const std::string& name = GetParam()) {
    if (name == "lion") return std::make_unique<Lion>(parameters);
    return make_backbone_optimizer(name, parameters, kOptions);
  }

  TemporaryFolder folder_;
};

TEST_P(AnyBackboneOptimizer, StepsAsIfSkippedStepsHadNeverBeen) {
  const Parameters ours = parameters(), theirs = parameters();
  const auto mine = make(ours), reference = make(theirs);
  const at::Tensor skipped = torch::zeros(1);
  for (int step = 0; step < 12; ++step) {
    const bool skip = step % 4 == 0;
    set_gradients(ours, step);
    set_gradients(theirs, step);
    if (skip) {
      skipped.add_(1);
      ours["conv"].mutable_grad().fill_(std::numeric_limits<float>::infinity());
    }
    mine->step(0.1, torch::full(1, skip ? 1.0 : 0.0), skipped);
    if (!skip) reference->step(0.1, torch::zeros(1));
    expect_equal(ours, theirs, step);
  }
}

TEST_P(AnyBackboneOptimizer, GoesOnFromWhatItSaved) {
  const Parameters ours = parameters(), theirs = parameters();
  const auto first = make(ours), reference = make(theirs);
  const auto five_steps = [](const auto& optimizer, const Parameters& all, int begin) {
    for (int step = begin; step < begin + 5; ++step) {
      set_gradients(all, step);
      optimizer->step(0.1, torch::zeros(1));
    }
  };
  five_steps(first, ours, 0);
  first->save(folder_ / "optimizer.safetensors");
  const auto resumed = make(ours);
  resumed->load(folder_ / "optimizer.safetensors");
  five_steps(resumed, ours, 5);
  five_steps(reference, theirs, 0);
  five_steps(reference, theirs, 5);
  expect_equal(ours, theirs, 10);
}

TEST_P(AnyBackboneOptimizer, RefusesTheFileOfAnother) {
  const Parameters all = parameters();
  set_gradients(all, 0);
  for (const std::string& other : all_names()) {
    if (other == GetParam()) continue;
    const auto saved = make(all, other);
    saved->step(0.1, torch::zeros(1));
    saved->save(folder_ / other);
    EXPECT_THAT([&] { make(all)->load(folder_ / other); },
                ThrowsMessage<DataError>(
                    HasSubstr("optimizer: '" + other + "', want '" + GetParam() + "'")));
  }
}

TEST_P(AnyBackboneOptimizer, RefusesTheFileOfAnotherNetwork) {
  const Parameters all = parameters();
  set_gradients(all, 0);
  const auto saved = make(all);
  saved->step(0.1, torch::zeros(1));
  saved->save(folder_ / "optimizer");
  Parameters renamed, reshaped;
  renamed.insert("conv", all["conv"]);
  EXPECT_THAT([&] { make(renamed)->load(folder_ / "optimizer"); },
              ThrowsMessage<DataError>(HasSubstr("is nothing that " + GetParam() + " keeps")));
  reshaped.insert("conv", all["conv"]);
  reshaped.insert("bias", torch::zeros(8));
  EXPECT_THAT([&] { make(reshaped)->load(folder_ / "optimizer"); },
              ThrowsMessage<DataError>(HasSubstr("F32 [7], want F32 [8]")));
}

INSTANTIATE_TEST_SUITE_P(Each, AnyBackboneOptimizer, testing::ValuesIn(all_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace pfc
