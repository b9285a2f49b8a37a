#include "pfc/base/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace pfc {
namespace {

TEST(PeakMemory, CountsWhatWasResidentSinceTheReset) {
  constexpr std::size_t kBytes = 64 << 20;
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  if (before == 0) GTEST_SKIP() << "the system does not tell";
  // Straight from the system: an allocator may keep what is given back.
  void* const block =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, kBytes);
  ::munmap(block, kBytes);
  const std::int64_t with_block = peak_memory();
  EXPECT_GE(with_block - before, 60 << 20);
  reset_peak_memory();
  EXPECT_LT(peak_memory(), with_block - (30 << 20));
}

// That it falls by what is taken cannot be asked of it: others take and give back meanwhile, and
// virtual machines get memory from their hosts as they use it.
TEST(AvailableMemory, IsAPartOfThePhysicalMemory) {
  EXPECT_GT(available_memory(), 0);
  EXPECT_LE(available_memory(), std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE));
}

}  // namespace
}  // namespace pfc
