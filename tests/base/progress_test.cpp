#include "pfc/base/progress.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace pfc {
namespace {

TEST(FormatDuration, CountsHoursOnlyWhereThereAreSome) {
  EXPECT_EQ(format_duration(std::chrono::seconds(0)), "0:00");
  EXPECT_EQ(format_duration(std::chrono::seconds(123)), "2:03");
  EXPECT_EQ(format_duration(std::chrono::seconds(3723)), "1:02:03");
}

/// A clock that advances only when told to.
struct Clock {
  std::chrono::milliseconds passed{0};

  auto reader() {
    return [this] { return ProgressLine::Clock::time_point() + passed; };
  }
};

/// The output of 1,000 units of work that take `each` long.
std::string printed_of_a_thousand(std::chrono::milliseconds each) {
  Clock clock;
  testing::internal::CaptureStderr();
  ProgressLine progress(1000, 0, false, clock.reader());
  for (std::int64_t done = 1; done <= 1000; ++done) {
    clock.passed += each;
    progress.show(done, "working");
  }
  return testing::internal::GetCapturedStderr();
}

TEST(ProgressLine, PrintsAboutTwentyLinesWhereThereIsNoTerminal) {
  const std::string text = printed_of_a_thousand(std::chrono::milliseconds(500));
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, 20);
  EXPECT_LE(lines, 22);
  EXPECT_NE(text.find("ETA"), std::string::npos);
  EXPECT_EQ(text.substr(text.rfind("working")).substr(0, 14), "working  took ");
}

TEST(ProgressLine, PrintsOneLineOfWorkThatIsOverInAMomentWhereThereIsNoTerminal) {
  EXPECT_EQ(printed_of_a_thousand(std::chrono::milliseconds(0)), "working  took 0:00\n");
  const std::string text = printed_of_a_thousand(std::chrono::milliseconds(5));  // 5 s
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 6);
}

TEST(ProgressLine, IsOverOnce) {
  testing::internal::CaptureStderr();
  ProgressLine progress(2);
  for (const int done : {1, 2, 2}) progress.show(done, "working");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "working  took 0:00\n");
}

TEST(ProgressLine, SaysTheTimeLeftFromTheSecondLineOn) {
  Clock clock;
  testing::internal::CaptureStderr();
  {
    ProgressLine progress(100, 50, false, clock.reader());  // taken up again
    for (std::int64_t done = 51; done < 60; ++done) {
      clock.passed += std::chrono::seconds(2);
      progress.show(done, "working");
    }
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

/// The output of `print` if standard error is a terminal.
template <class Print>
std::string on_a_terminal(const Print& print) {
  int terminal = -1;
  const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0) {
    print();
    std::fflush(stderr);
    ::_exit(0);
  }
  std::string text;
  char piece[256];
  for (ssize_t size; (size = ::read(terminal, piece, sizeof piece)) > 0;)
    text.append(piece, static_cast<std::size_t>(size));
  ::close(terminal);
  ::waitpid(child, nullptr, 0);
  return text;
}

TEST(ProgressLine, WhatFollowsAFinishedOneOnATerminalBeginsALine) {
  const std::string text = on_a_terminal([] {
    ProgressLine progress(2);
    progress.show(1, "working");
    progress.show(2, "working");
    tell("train.rec: 2 images");
  });
  EXPECT_EQ(text, "\r\033[Kworking\r\033[Kworking  took 0:00\r\ntrain.rec: 2 images\r\n");
}

TEST(ProgressLine, IsClearedBeforeSomethingElseIsPrintedOnItsTerminal) {
  const std::string text = on_a_terminal([] {
    ProgressLine progress(2);
    progress.show(1, "working");
    progress.clear();
    tell("1.jpg\tbroken");
  });
  EXPECT_EQ(text, "\r\033[Kworking\r\033[K1.jpg\tbroken\r\n");
}

TEST(ProgressLine, PrintsNothingThatATerminalObeys) {
  testing::internal::CaptureStderr();
  ProgressLine progress(1);
  progress.note("left out: \033[31m.jpg");
  progress.show(1, "in \033]0;title\a");
  tell("a\nb");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "left out: ?[31m.jpg\nin ?]0;title?  took 0:00\na?b\n");
}

}  // namespace
}  // namespace pfc
