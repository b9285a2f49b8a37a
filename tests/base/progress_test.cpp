#include "pfc/base/progress.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pfc {
namespace {

TEST(FormatDuration, CountsHoursOnlyWhereThereAreSome) {
  EXPECT_EQ(format_duration(std::chrono::seconds(0)), "0:00");
  EXPECT_EQ(format_duration(std::chrono::seconds(123)), "2:03");
  EXPECT_EQ(format_duration(std::chrono::seconds(3723)), "1:02:03");
}

TEST(ProgressLine, PrintsAboutTwentyLinesWhereThereIsNoTerminal) {
  testing::internal::CaptureStderr();
  {
    ProgressLine progress(1000);
    for (std::int64_t done = 1; done <= 1000; ++done) progress.show(done, "working");
  }
  const std::string text = testing::internal::GetCapturedStderr();
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, 20);
  EXPECT_LE(lines, 22);
  EXPECT_NE(text.find("ETA"), std::string::npos);
  EXPECT_EQ(text.substr(text.rfind("working")).substr(0, 14), "working  took ");
}

TEST(ProgressLine, SaysTheTimeLeftFromTheSecondLineOn) {
  testing::internal::CaptureStderr();
  {
    ProgressLine progress(100, 50);  // taken up again
    for (std::int64_t done = 51; done < 60; ++done) progress.show(done, "working");
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.substr(0, 21), "working\nworking  ETA ");
}

TEST(ProgressLine, AQuietOnePrintsNotesOnly) {
  testing::internal::CaptureStderr();
  {
    ProgressLine progress(10, 0, true);
    for (std::int64_t done = 1; done <= 10; ++done) progress.show(done, "working");
    progress.note("rank 2: an image is broken");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "rank 2: an image is broken\n");
}

}  // namespace
}  // namespace pfc
