#include "pfc/base/format.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

TEST(Format, IsPrintfIntoAStringOfAnyLength) {
  EXPECT_EQ(format("%d of %s", 3, "four"), "3 of four");
  EXPECT_EQ(format("%0500d", 1).size(), 500u);
}

TEST(Grouped, PutsACommaBeforeEveryThreeDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(17'091'657), "17,091,657");
  EXPECT_EQ(grouped(-123), "-123");
  EXPECT_EQ(grouped(-1234), "-1,234");
}

TEST(Gigabytes, AreOfAThousandMillionBytes) {
  EXPECT_EQ(gigabytes(0), "0.00 GB");
  EXPECT_EQ(gigabytes(1'234'567'890), "1.23 GB");
}

}  // namespace
}  // namespace pfc
