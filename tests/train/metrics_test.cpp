#include "pfc/train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;

VerificationResult result_of_two_pairs() {
  const std::vector<double> scores = {1, 0};
  const std::vector<std::uint8_t> same = {1, 0};
  return {.set = "lfw",
          .accuracy = 0.99,
          .roc = Roc(scores, same),
          .operating_points = {{{.wanted_far = 0.1, .far = 0.1, .tar = 0.75, .threshold = 0.5}}}};
}

TEST(MetricsLog, HoldsAJsonObjectALine) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path());
  log.write({.step = 10, .epoch = 0.5, .loss = 12.25, .lr = 0.1});
  log.write(20, result_of_two_pairs());
  const std::string text = read_file(folder / "metrics.jsonl");
  EXPECT_THAT(text, HasSubstr(R"({"step":10,"epoch":0.5,"loss":12.25,"lr":0.1,)"));
  EXPECT_THAT(text, HasSubstr("}\n{\"step\":20,\"set\":\"lfw\",\"accuracy\":0.99,"));
  EXPECT_THAT(text, testing::EndsWith("}\n"));
}

TEST(MetricsLog, IsWhatTensorBoardReads) {
  const Python python("tensorboard");
  if (!python) GTEST_SKIP() << python.why_not();
  const TemporaryFolder folder;
  MetricsLog log(folder.path());
  log.write({.step = 10, .loss = 12.25, .lr = 0.1});
  log.write({.step = 300, .loss = 11.5, .lr = 0.05});
  log.write(300, result_of_two_pairs());
  const std::string scalars = python.run(R"(
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
for tag in sorted(events.Tags()['scalars']):
    for scalar in events.Scalars(tag):
        print(tag, scalar.step, '%.4g' % scalar.value)
)",
                                         folder.path());
  EXPECT_THAT(scalars, HasSubstr("eval/lfw/accuracy 300 0.99\n"));
  EXPECT_THAT(scalars, HasSubstr("eval/lfw/tar_at_far_1e-01 300 0.75\n"));
  EXPECT_THAT(scalars, HasSubstr("train/loss 10 12.25\ntrain/loss 300 11.5\n"));
  EXPECT_THAT(scalars, HasSubstr("train/lr 10 0.1\ntrain/lr 300 0.05\n"));
}

TEST(MetricsLog, NamesAFileThatCannotBeWritten) {
  EXPECT_THAT([] { MetricsLog log("/nowhere"); },
              testing::ThrowsMessage<Error>(HasSubstr("/nowhere/")));
}

}  // namespace
}  // namespace pfc
