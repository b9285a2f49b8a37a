#include "pfc/base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  TemporaryFolder folder_;
};

TEST_F(Files, AnAtomicFileAppearsWholeOrNotAtAll) {
  const fs::path path = folder_ / "a";
  {
    AtomicFile file(path);
    file.write("half");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_EQ(entries(), 0u);  // without commit nothing is left, not even the temporary file
  AtomicFile file(path);
  file.write("who");
  file.write("le");
  file.commit();
  EXPECT_EQ(read_file(path), "whole");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, AnAtomicFileReplacesOnlyOnCommit) {
  const fs::path path = folder_ / "a";
  AtomicFile first(path);
  first.write("old");
  first.commit();
  {
    AtomicFile second(path);
    second.write("new");
    EXPECT_EQ(read_file(path), "old");
    second.commit();
  }
  EXPECT_EQ(read_file(path), "new");
}

TEST_F(Files, AnAtomicFileTellsWhereItCannotBeCreated) {
  EXPECT_THAT([&] { AtomicFile file(folder_ / "missing" / "a"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("missing/a")));
}

TEST_F(Files, ALinkStaysAndTheFileThatItLeadsToIsReplaced) {
  fs::create_directories(folder_ / "far/away");
  write_file(folder_ / "far/away/there", "old");
  fs::create_symlink("far/away/there", folder_ / "relative");
  fs::create_symlink(folder_ / "relative", folder_ / "chain");
  write_file(folder_ / "chain", "new");
  EXPECT_EQ(read_file(folder_ / "far/away/there"), "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "chain"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "relative"));

  fs::create_symlink("../made", folder_ / "far/to_nothing");
  write_file(folder_ / "far/to_nothing", "new");
  EXPECT_EQ(read_file(folder_ / "made"), "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "far/to_nothing"));

  fs::create_symlink("round", folder_ / "round");
  EXPECT_THAT([&] { write_file(folder_ / "round", "x"); },
              testing::ThrowsMessage<IoError>(testing::HasSubstr("round: cannot write: Too many")));
}

TEST_F(Files, WhatIsNoRegularFileIsWrittenInto) {
  write_file("/dev/null", "text");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_THAT(
      [&] { write_file("/dev/full", "text"); },
      testing::ThrowsMessage<IoError>(testing::HasSubstr("/dev/full: cannot write: No sp")));

  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  fs::create_symlink("pipe", folder_ / "to_pipe");
  auto read = std::async(std::launch::async, [&] { return read_file(pipe); });
  write_file(folder_ / "to_pipe", "through the pipe");
  EXPECT_EQ(read.get(), "through the pipe");
  EXPECT_TRUE(fs::is_fifo(pipe));

  EXPECT_THAT([&] { write_file(folder_.path(), "text"); },
              testing::ThrowsMessage<IoError>(testing::HasSubstr("Is a directory")));
}

TEST_F(Files, ADescriptorOfThisProcessIsGoneOnWritingAfterWhatItHas) {
  const int file = ::open((folder_ / "out").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(::write(file, "said before\n", 12), 12);
  for (const char* folder : {"/dev/fd/", "/proc/self/fd/"})
    write_file(folder + std::to_string(file), "and this\n");
  fs::create_symlink("/dev/fd/" + std::to_string(file), folder_ / "link");
  write_file(folder_ / "link", "and that\n");
  ::close(file);
  EXPECT_EQ(read_file(folder_ / "out"), "said before\nand this\nand this\nand that\n");
}

/// Runs `child` in a process of its own and returns the status from waitpid.
template <class Child>
int in_a_process(const Child& child) {
  const pid_t process = ::fork();
  if (process == 0) {
    child();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(process, &status, 0);
  return status;
}

TEST_F(Files, WhatAKilledWriterLeftBehindIsRemovedBeforeTheNextNeedsItsRoom) {
  const fs::path path = folder_ / "a";
  const int status = in_a_process([&] {
    AtomicFile file(path);
    file.write("half");
    std::raise(SIGKILL);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(entries(), 1u);
  {
    AtomicFile file(folder_ / "another in the same folder");
    EXPECT_EQ(entries(), 1u);  // its own
  }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(Files, TheFileOfALivingWriterIsLeftAlone) {
  const fs::path path = folder_ / "a";
  AtomicFile mine(path);
  mine.write("mine");
  const int status = in_a_process([&] {
    AtomicFile other(path);
    other.write("theirs");
    other.commit();
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path), "theirs");
  AtomicFile third(path);
  third.write("the third");
  mine.commit();
  EXPECT_EQ(read_file(path), "mine");
  third.commit();
  EXPECT_EQ(read_file(path), "the third");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, AnotherMachinesFileIsLeftOverWhenNobodyWroteToItForAnHour) {
  const fs::path theirs = folder_ / "a.tmp-00000000-0123456789ab";
  const fs::path no_temporary = folder_ / "a.tmp-notes";
  write_text(theirs, "half");
  write_text(no_temporary, "a user's");
  { const AtomicFile file(folder_ / "a"); }
  EXPECT_TRUE(fs::exists(theirs));
  for (const fs::path& path : {theirs, no_temporary})
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(2));
  { const AtomicFile file(folder_ / "a"); }
  EXPECT_FALSE(fs::exists(theirs));
  EXPECT_TRUE(fs::exists(no_temporary));
}

TEST_F(Files, WritersInTwoContainersDoNotMeet) {
  // Each of two containers has a process with the number 1.
  const fs::path path = folder_ / "a";
  const auto write_as_process_one = [&](const std::string& text) {
    return in_a_process([&] {
      if (::unshare(CLONE_NEWPID) != 0) ::_exit(77);
      ::_exit(WEXITSTATUS(in_a_process([&] {
        AtomicFile first(path);
        first.write(text.substr(0, 1));
        AtomicFile held(path);  // stays open over the other container's whole life
        if (text == "outer") {
          const int inner = in_a_process([&] {
            if (::unshare(CLONE_NEWPID) != 0) ::_exit(77);
            ::_exit(WEXITSTATUS(in_a_process([&] { write_file(path, "inner"); })));
          });
          if (inner != 0 || read_file(path) != "inner") ::_exit(1);
        }
        first.write(text.substr(1));
        first.commit();
      })));
    });
  };
  const int status = write_as_process_one("outer");
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no PID namespace may be made here";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path), "outer");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, AFileThatCannotBeReadIsNotOneThatIsNotThere) {
  // Reading address 0 of the own memory is the only device error (EIO) that a test can cause.
  fs::create_symlink("/proc/self/mem", folder_ / "broken");
  try {
    read_file(folder_ / "broken");
    FAIL();
  } catch (const IoError& error) {
    EXPECT_FALSE(error.not_found());
    EXPECT_EQ(error.code(), std::errc::io_error);
    EXPECT_THAT(error.what(), testing::HasSubstr("broken: cannot read: Input/output error"));
  }
  try {
    read_file(folder_ / "none");
    FAIL();
  } catch (const IoError& error) {
    EXPECT_TRUE(error.not_found());
  }
}

TEST_F(Files, AFullTableOfDescriptorsIsAnErrorOfReading) {
  write_text(folder_ / "a", "text");
  const int status = in_a_process([&] {
    const auto tries = [&](const char* name) {
      try {
        read_file(folder_ / name);
      } catch (const IoError& error) {
        return error.code() == std::errc::too_many_files_open;
      }
      return false;
    };
    tries(
        "none");  // a sanitizer inspects the types of a first error, and needs descriptors for that
    const rlimit none{3, 3};
    ::setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 3; i < 256; ++i) ::close(i);
    ::_exit(tries("a") ? 5 : 6);
  });
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST_F(Files, AFileInPlaceIsWrittenWhole) {
  write_in_place(folder_ / "a", std::as_bytes(std::span(std::string_view("text"))));
  EXPECT_EQ(read_file(folder_ / "a"), "text");
  EXPECT_THAT(
      [&] { write_in_place("/dev/full", std::as_bytes(std::span("x"))); },
      testing::ThrowsMessage<IoError>(testing::HasSubstr("/dev/full: cannot write: No sp")));
}

TEST_F(Files, ATildeIsTheHomeFolderWhereItBeginsAPath) {
  const char* const home = std::getenv("HOME");
  const std::string before = home != nullptr ? home : "/";
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(expand_home("~/x"), "/home/me/x");
  EXPECT_EQ(expand_home("~"), "/home/me");
  EXPECT_EQ(expand_home("a/~/x"), "a/~/x");
  EXPECT_EQ(expand_home("~x"), "~x");
  EXPECT_THAT([] { expand_home("~bob/x"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("~bob/x: only ~/ is expanded")));
  ::unsetenv("HOME");
  EXPECT_THAT([] { expand_home("~/x"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("~/x: HOME is not set")));
  ::setenv("HOME", before.c_str(), 1);
}

TEST_F(Files, AMappedFileHoldsTheBytes) {
  const fs::path path = folder_ / "a";
  AtomicFile file(path);
  file.write("bytes");
  file.commit();
  MappedFile mapped(path);
  ASSERT_EQ(mapped.bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(mapped.bytes()[0]), 'b');
  MappedFile moved = std::move(mapped);
  EXPECT_EQ(moved.bytes().size(), 5u);
}

TEST_F(Files, AnEmptyFileMapsToNoBytes) {
  AtomicFile(folder_ / "a").commit();
  EXPECT_TRUE(MappedFile(folder_ / "a").bytes().empty());
}

TEST_F(Files, AMissingFileAndAFolderAreNamed) {
  EXPECT_THAT([&] { MappedFile mapped(folder_ / "none"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("none: cannot open")));
  EXPECT_THAT([&] { MappedFile mapped(folder_.path()); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("is a folder, want a file")));
  EXPECT_THAT([&] { read_file(folder_ / "none"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("none")));
}

}  // namespace
}  // namespace pfc
