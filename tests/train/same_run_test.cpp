#include "train/same_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "train/config_fields.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

TEST(SameRun, MayLieElsewhereAndReportOtherwise) {
  Config now;
  now.output = "elsewhere";
  now.data.train = "/data/train.rec";
  now.train.threads = 7;
  now.eval.every = 100;
  now.checkpoint.keep_last = 5;
  now.init.from = "model.safetensors";
  EXPECT_THAT(require_same_run(now, Config()), IsEmpty());
}

TEST(SameRun, SaysWhatElseChanged) {
  Config now;
  now.schedule.lr = 0.05;
  now.head.sample_rate = 0.1;
  now.head.m = 0.5;
  now.head.scale = 32;
  now.optimizer.weight_decay = 1e-3;
  EXPECT_THAT(
      require_same_run(now, Config()),
      ElementsAre("head.sample_rate = 0.1, was 1.0", "head.m = 0.5, was 0.4",
                  "head.scale = 32.0, was 64.0", "optimizer.weight_decay = 0.001, was 0.0005",
                  "schedule.lr = 0.05, was 0.1"));
}

/// A new key must be put into one of the three kinds. This test asks whether it is the right one,
/// for the kind that saved files depend on.
TEST(SameRun, KeepsThePlanAndTheShapesOfWhatWasSaved) {
  Config config;
  std::vector<std::string> fixed;
  for (const Field& field : fields(config))
    if (field.on_resume == OnResume::kFixed) fixed.push_back(field.key);
  EXPECT_THAT(
      fixed, ElementsAre("data.min_images", "data.mirror", "data.shuffle_window", "model.network",
                         "model.embedding_size", "model.options", "model.freeze", "model.lora_rank",
                         "head.sub_centers", "head.update", "head.center_type", "head.state_type",
                         "optimizer.kind", "optimizer.momentum", "train.batch_size", "train.seed"));
}

TEST(SameRun, RefusesAnotherPlanOrAnotherShape) {
  const auto expect = [](const Config& now, const std::string& sentence) {
    EXPECT_THAT([&] { require_same_run(now, Config()); },
                ThrowsMessage<Error>(HasSubstr(sentence)));
  };
  Config now;
  now.train.batch_size = 256;
  expect(now, "train.batch_size is 256, but the checkpoint's run has 128");
  now = {};
  now.model.network = "r100";
  expect(now, "model.network is \"r100\", but the checkpoint's run has \"r50\"");
  now = {};
  now.head.center_type = NumberType::kBFloat16;
  expect(now, "head.center_type");
  now = {};
  now.train.seed = 1;
  expect(now, "train.seed");
}

}  // namespace
}  // namespace pfc
