#include "pfc/base/program.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <sstream>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPage = 4096;

/// Reads a byte of what is mapped.
void touch(const MappedFile& file, std::size_t place) {
  static_cast<void>(*static_cast<const volatile std::byte*>(file.bytes().data() + place));
}

TEST(TellFileFaults, AMappedFileThatIsCutWhileItIsReadIsNamed) {
  const TemporaryFolder folder;
  const fs::path path = folder / "train.rec";
  write_text(path, std::string(3 * kPage, 'x'));
  EXPECT_EXIT(
      {
        tell_file_faults("pfc: rank 3: ");
        const MappedFile file(path);
        fs::resize_file(path, kPage);
        touch(file, 2 * kPage + 7);
      },
      testing::ExitedWithCode(1),
      "^pfc: rank 3: /.*/train.rec: was cut to 4096 bytes while it was read, and byte 8199 is "
      "wanted: put the whole file back\n$");
}

TEST(TellFileFaults, BytesOfACutFileThatAreToBeWrittenNameTheCutFile) {
  const TemporaryFolder folder;
  write_text(folder / "in.rec", std::string(3 * kPage, 'x'));
  EXPECT_EXIT(
      {
        tell_file_faults("pfc: ");
        const MappedFile file(folder / "in.rec");
        fs::resize_file(folder / "in.rec", kPage);
        AtomicFile(folder / "out.rec").write(file.bytes());
      },
      testing::ExitedWithCode(1), "^pfc: /.*/in.rec: was cut to 4096 bytes");
}

TEST(TellFileFaults, AFaultOfAnotherKindEndsTheProgramAsBefore) {
  EXPECT_EXIT(
      {
        tell_file_faults("pfc: ");
        std::raise(SIGBUS);
        std::raise(SIGBUS);
      },
      testing::KilledBySignal(SIGBUS), "^$");
}

TEST(TellFileFaults, AFileOverTheLimitOfItsSizeIsAnErrorOfWriting) {
  const TemporaryFolder folder;
  EXPECT_EXIT(
      {
        tell_file_faults("pfc: ");
        rlimit small{};
        small.rlim_cur = small.rlim_max = 1000;
        ::setrlimit(RLIMIT_FSIZE, &small);
        try {
          write_file(folder / "a", std::string(2000, 'x'));
        } catch (const IoError& error) {
          std::cerr << error.what() << "\n";
          ::_exit(5);
        }
      },
      testing::ExitedWithCode(5), "/a: cannot write: File too large\n$");
}

TEST(OpenStandardDescriptors, AFileIsNeverStandardError) {
  const TemporaryFolder folder;
  EXPECT_EXIT(
      {
        for (const int descriptor : {0, 1, 2}) ::close(descriptor);
        open_standard_descriptors();
        const int file = ::open((folder / "data").c_str(), O_WRONLY | O_CREAT, 0600);
        std::cerr << "progress\n";
        ::_exit(file > 2 && fs::file_size(folder / "data") == 0 ? 5 : 6);
      },
      testing::ExitedWithCode(5), "^$");
}

TEST(OpenStandardDescriptors, WhatIsOpenStays) {
  EXPECT_EXIT(
      {
        open_standard_descriptors();
        std::cerr << "still heard\n";
        ::_exit(5);
      },
      testing::ExitedWithCode(5), "^still heard\n$");
}

TEST(PrintableOutput, PassesLinesOnMadePrintable) {
  std::ostringstream out;
  std::streambuf* const before = std::cout.rdbuf(out.rdbuf());
  {
    const PrintableOutput printable;
    std::cout << "name \033[31m of " << 3 << "\n{\n\t\"Å\": 1\n}" << std::flush << " end";
  }
  std::cout.rdbuf(before);
  EXPECT_EQ(out.str(), "name ?[31m of 3\n{\n\t\"Å\": 1\n} end");
}

TEST(PrintableOutput, FailsWhereWhatItPassesOnToFails) {
  std::stringbuf read_only("", std::ios::in);
  std::streambuf* const before = std::cout.rdbuf(&read_only);
  {
    const PrintableOutput printable;
    std::cout << "text\n" << std::flush;
    EXPECT_FALSE(std::cout);
  }
  std::cout.rdbuf(before);
  std::cout.clear();
}

}  // namespace
}  // namespace pfc
