#include "train/same_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"

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
  EXPECT_THAT(require_same_run(now, Config()),
              ElementsAre("head.sample_rate = 0.1, was 1.0", "schedule.lr = 0.05, was 0.1"));
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
  now.head.center_type = "bfloat16";
  expect(now, "head.center_type");
  now = {};
  now.train.seed = 1;
  expect(now, "train.seed");
}

}  // namespace
}  // namespace pfc
