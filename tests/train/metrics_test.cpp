#include "pfc/train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

TEST(MetricsFile, HoldsAJsonObjectALine) {
  const fs::path path =
      fs::temp_directory_path() / ("pfc_metrics_" + std::to_string(::getpid()) + ".jsonl");
  MetricsFile file(path);
  file.write({.step = 10, .epoch = 0.5, .loss = 12.25, .lr = 0.1});
  const std::vector<double> scores = {1, 0};
  const std::vector<std::uint8_t> same = {1, 0};
  VerificationResult result{
      .set = "lfw", .accuracy = 0.99, .roc = Roc(scores, same), .operating_points = {}};
  file.write(20, result);
  const std::string text = read_file(path);
  fs::remove(path);
  EXPECT_THAT(text, testing::HasSubstr(R"({"step":10,"epoch":0.5,"loss":12.25,"lr":0.1,)"));
  EXPECT_THAT(text, testing::HasSubstr("}\n{\"step\":20,\"set\":\"lfw\",\"accuracy\":0.99,"));
  EXPECT_THAT(text, testing::EndsWith("}\n"));
}

TEST(MetricsFile, NamesAFileThatCannotBeWritten) {
  EXPECT_THAT([] { MetricsFile file("/nowhere/metrics.jsonl"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("/nowhere/metrics.jsonl")));
}

}  // namespace
}  // namespace pfc
