#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "temporary_folder.h"

struct Outcome {
  int status = -1;
  std::string out, err;
};

class Pfc : public testing::Test {
 protected:
  /// Runs `pfc arguments` in the test's folder; a shell splits the arguments.
  Outcome run(const std::string& arguments) const {
    const std::string command = "cd '" + folder_.path().string() + "' && '" PFC_BINARY "' " +
                                arguments + " >out.txt 2>err.txt";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read("out.txt"), read("err.txt")};
  }
  void write(const std::string& name, const std::string& text) const {
    pfc::write_text(folder_ / name, text);
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_ / name).rdbuf();
    return text.str();
  }

  pfc::TemporaryFolder folder_;
};

/// A failure is one sentence on stderr and nothing on stdout.
inline void expect_failure(const Outcome& outcome, int status, const std::string& sentence) {
  EXPECT_EQ(outcome.status, status);
  EXPECT_THAT(outcome.out, testing::IsEmpty());
  EXPECT_THAT(outcome.err, testing::StartsWith("pfc: "));
  EXPECT_THAT(outcome.err, testing::EndsWith("\n"));
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  EXPECT_THAT(outcome.err, testing::HasSubstr(sentence));
}
