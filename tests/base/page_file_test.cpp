#include "base/page_file.h"

#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;
using Access = PageFile::Access;

std::byte* page_of(const Pages& memory, std::int64_t page) {
  return memory.get() + page * kPageBytes;
}

/// Every page differs from every other in all of its words.
void fill(const Pages& memory, std::int64_t pages, std::uint64_t seed) {
  for (std::int64_t page = 0; page < pages; ++page)
    for (std::int64_t word = 0; word < kPageBytes / 8; ++word) {
      const std::uint64_t value = seed + static_cast<std::uint64_t>(page * kPageBytes + word * 8);
      std::memcpy(page_of(memory, page) + word * 8, &value, 8);
    }
}

bool same(const std::byte* a, const std::byte* b, std::int64_t pages = 1) {
  return std::memcmp(a, b, static_cast<std::size_t>(pages * kPageBytes)) == 0;
}

/// Each way a file may be reached.
class PageFileWays : public ::testing::TestWithParam<PageFile::Options> {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "table.pages";
};

INSTANTIATE_TEST_SUITE_P(All, PageFileWays,
                         ::testing::Values(PageFile::Options{}, PageFile::Options{.ring = false},
                                           PageFile::Options{.direct = false},
                                           PageFile::Options{.ring = false, .direct = false},
                                           PageFile::Options{.queue_depth = 1}));

TEST_P(PageFileWays, WhatWasWrittenIsRead) {
  constexpr std::int64_t kPages = 700;  // more than two requests of the largest size
  PageFile::create(path_, kPages * kPageBytes);
  const Pages written = aligned_pages(kPages * kPageBytes);
  const Pages found = aligned_pages(kPages * kPageBytes);
  fill(written, kPages, 1);
  PageFile file(path_, Access::kReadWrite, GetParam());
  EXPECT_EQ(file.bytes(), kPages * kPageBytes);
  file.write(std::array{PageTransfer{0, written.get(), kPages * kPageBytes}});
  file.sync();
  PageFile other(path_, Access::kRead, GetParam());
  other.read(std::array{PageTransfer{0, found.get(), kPages * kPageBytes}});
  EXPECT_TRUE(same(written.get(), found.get(), kPages));
  file.write({});
  file.read({});
}

TEST_P(PageFileWays, NeighboursInTheFileMayBeAnywhereInMemory) {
  constexpr std::int64_t kPages = 1500;
  PageFile::create(path_, kPages * kPageBytes);
  const Pages written = aligned_pages(kPages * kPageBytes);
  const Pages found = aligned_pages(kPages * kPageBytes);
  fill(written, kPages, 2);
  std::vector<std::int64_t> place(kPages);
  std::iota(place.begin(), place.end(), 0);
  std::shuffle(place.begin() + 300, place.end(), std::mt19937(7));  // 300 are neighbours in both
  std::vector<PageTransfer> transfers;
  for (std::int64_t page = 0; page < kPages; ++page)
    transfers.push_back(
        {page * kPageBytes, page_of(written, place[static_cast<std::size_t>(page)]), kPageBytes});
  PageFile file(path_, Access::kReadWrite, GetParam());
  file.write(transfers);
  file.read(std::array{PageTransfer{0, found.get(), kPages * kPageBytes}});
  for (std::int64_t page = 0; page < kPages; ++page)
    ASSERT_TRUE(same(page_of(found, page), transfers[static_cast<std::size_t>(page)].memory));
}

TEST_P(PageFileWays, OtherPagesStayAsTheyWere) {
  constexpr std::int64_t kPages = 64;
  PageFile::create(path_, kPages * kPageBytes);
  const Pages before = aligned_pages(kPages * kPageBytes);
  const Pages after = aligned_pages(kPages * kPageBytes);
  const Pages found = aligned_pages(kPages * kPageBytes);
  fill(before, kPages, 3);
  fill(after, kPages, 1 << 30);
  PageFile file(path_, Access::kReadWrite, GetParam());
  file.write(std::array{PageTransfer{0, before.get(), kPages * kPageBytes}});
  std::vector<PageTransfer> transfers;
  for (std::int64_t page = kPages - 1; page > 0; page -= 3)
    transfers.push_back({page * kPageBytes, page_of(after, page), kPageBytes});
  file.write(transfers);
  file.read(std::array{PageTransfer{0, found.get(), kPages * kPageBytes}});
  for (std::int64_t page = 0; page < kPages; ++page)
    ASSERT_TRUE(
        same(page_of(found, page), page_of(page > 0 && page % 3 == 0 ? after : before, page)));
}

TEST_P(PageFileWays, RefusesWhatIsBeyondTheEndOrNoPage) {
  PageFile::create(path_, 4 * kPageBytes);
  const Pages memory = aligned_pages(8 * kPageBytes);
  PageFile file(path_, Access::kReadWrite, GetParam());
  const auto refused = [&](const PageTransfer& transfer) {
    EXPECT_THROW(file.read(std::array{transfer}), Error);
    EXPECT_THROW(file.write(std::array{transfer}), Error);
  };
  refused({4 * kPageBytes, memory.get(), kPageBytes});
  refused({3 * kPageBytes, memory.get(), 2 * kPageBytes});
  refused({std::int64_t{1} << 62, memory.get(), kPageBytes});
  refused({kPageBytes, memory.get(), (std::int64_t{1} << 62) - kPageBytes});
  refused({-kPageBytes, memory.get(), kPageBytes});
  refused({0, memory.get(), -kPageBytes});
  refused({512, memory.get(), kPageBytes});
  refused({0, memory.get() + 512, kPageBytes});
  refused({0, memory.get(), 512});
  EXPECT_EQ(std::filesystem::file_size(path_), 4 * kPageBytes);
}

TEST_P(PageFileWays, SaysThatTheFileEndsBeforeItShould) {
  PageFile::create(path_, 400 * kPageBytes);
  const Pages memory = aligned_pages(400 * kPageBytes);
  PageFile file(path_, Access::kRead, GetParam());
  std::filesystem::resize_file(path_, 10 * kPageBytes);
  EXPECT_THAT(
      [&] {
        file.read(std::array{PageTransfer{0, memory.get(), 400 * kPageBytes}});
      },
      ThrowsMessage<Error>(HasSubstr("it ends there, and was longer when it was opened")));
  file.read(std::array{PageTransfer{0, memory.get(), 10 * kPageBytes}});  // it goes on
  std::filesystem::resize_file(path_, 10 * kPageBytes - 1);
  EXPECT_THAT([&] { PageFile(path_, Access::kRead, GetParam()); },
              ThrowsMessage<Error>(HasSubstr("has 40,959 bytes, want a multiple of 4,096")));
}

TEST_P(PageFileWays, TellsWhatTheSystemRefuses) {
  PageFile::create(path_, 8 * kPageBytes);
  PageFile file(path_, Access::kReadWrite, GetParam());
  std::byte* const nowhere = reinterpret_cast<std::byte*>(kPageBytes);  // no program has it
  EXPECT_THAT(
      [&] {
        file.read(std::array{PageTransfer{0, nowhere, kPageBytes}});
      },
      ThrowsMessage<IoError>(
          HasSubstr(path_.string() + ": cannot read 4,096 bytes at 0: Bad address")));
  PageFile reader(path_, Access::kRead, GetParam());
  const Pages memory = aligned_pages(kPageBytes);
  EXPECT_THROW(reader.write(std::array{PageTransfer{0, memory.get(), kPageBytes}}), IoError);
}

TEST_P(PageFileWays, AHundredThousandPagesInAnyOrder) {
  constexpr std::int64_t kPages = 100000;
  constexpr std::int64_t kKinds = 256;  // of content
  if (GetParam().queue_depth == 1) GTEST_SKIP() << "a page at a time takes long";
  PageFile::create(path_, kPages * kPageBytes);
  const Pages written = aligned_pages(kKinds * kPageBytes);
  const Pages found = aligned_pages(kKinds * kPageBytes);
  fill(written, kKinds, 4);
  PageFile file(path_, Access::kReadWrite, GetParam());
  // Groups of eight in any order: a drive of a test machine takes seconds for pages one by one.
  std::vector<std::int64_t> groups(kPages / 8);
  std::iota(groups.begin(), groups.end(), 0);
  std::shuffle(groups.begin(), groups.end(), std::mt19937(7));
  std::vector<PageTransfer> transfers;
  for (const std::int64_t group : groups)
    for (std::int64_t page = group * 8; page < group * 8 + 8; ++page)
      transfers.push_back({page * kPageBytes, page_of(written, page % 251), kPageBytes});
  file.write(transfers);
  transfers.clear();
  for (std::int64_t page = 17; page < kPages; page += kPages / kKinds + 1)
    transfers.push_back({page * kPageBytes,
                         page_of(found, static_cast<std::int64_t>(transfers.size())), kPageBytes});
  file.read(transfers);
  for (const PageTransfer& transfer : transfers)
    ASSERT_TRUE(same(transfer.memory, page_of(written, transfer.offset / kPageBytes % 251)));
}

TEST(PageFile, TakesPlainCallsWhereAnIoUringIsNotPermitted) {
  const TemporaryFolder folder;
  PageFile::create(folder / "table", 8 * kPageBytes);
  std::string how;
  std::thread([&] {  // the filter is for this thread alone
    std::array filter{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
      return;
    PageFile file(folder / "table", Access::kReadWrite);
    const Pages memory = aligned_pages(8 * kPageBytes);
    fill(memory, 8, 5);
    file.write(std::array{PageTransfer{0, memory.get(), 8 * kPageBytes}});
    how = file.how();
  })
      .join();
  if (how.empty()) GTEST_SKIP() << "no filter may be set here";
  EXPECT_THAT(how, StartsWith("plain calls of 16 threads"));
}

TEST(PageFile, SaysHowManyBytesTheDiskLacks) {
  const TemporaryFolder folder;
  struct statvfs disk {};
  ASSERT_EQ(::statvfs(folder.path().c_str(), &disk), 0);
  const auto all = static_cast<std::int64_t>(disk.f_blocks * disk.f_frsize);
  EXPECT_THAT([&] { PageFile::create(folder / "table", (all / kPageBytes + 1) * kPageBytes); },
              ThrowsMessage<Error>(::testing::AllOf(HasSubstr("no room on the disk for"),
                                                    HasSubstr("bytes are missing"))));
  EXPECT_FALSE(std::filesystem::exists(folder / "table"));
}

TEST(PageFile, ReservesTheRoom) {
  const TemporaryFolder folder;
  PageFile::create(folder / "table", 256 * kPageBytes);
  struct stat info {};
  ASSERT_EQ(::stat((folder / "table").c_str(), &info), 0);
  EXPECT_GE(info.st_blocks * 512, 256 * kPageBytes);
}

TEST(PageFile, NeverReplacesAFile) {
  const TemporaryFolder folder;
  write_text(folder / "table", "days of training");
  EXPECT_THROW(PageFile::create(folder / "table", kPageBytes), IoError);
  EXPECT_EQ(std::filesystem::file_size(folder / "table"), 16U);
  EXPECT_THROW(PageFile::create(folder / "half", 100), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "half"));
  EXPECT_THROW(PageFile(folder / "none", Access::kRead), IoError);
  EXPECT_THROW(PageFile(folder.path(), Access::kRead), Error);
}

}  // namespace
}  // namespace pfc
