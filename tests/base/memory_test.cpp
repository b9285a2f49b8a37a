#include "pfc/base/memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace pfc {
namespace {

TEST(PeakMemory, CountsWhatWasResidentSinceTheReset) {
  constexpr std::size_t kBytes = 64 << 20;
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  if (before == 0) GTEST_SKIP() << "the system does not tell";
  { const std::vector<char> block(kBytes, 1); }
  const std::int64_t with_block = peak_memory();
  EXPECT_GE(with_block - before, 60 << 20);
  reset_peak_memory();
  EXPECT_LT(peak_memory(), with_block - (30 << 20));
}

}  // namespace
}  // namespace pfc
