#include "pfc/eval/accept_rate.h"

#include <gtest/gtest.h>

#include <vector>

namespace pfc {
namespace {

TEST(AllowedAccepts, IsTheLargestCountWhoseRateIsAtMostTheWantedOne) {
  EXPECT_EQ(allowed_accepts(0.1, 10), 1);
  EXPECT_EQ(allowed_accepts(0.3, 10), 3);  // in floating point 0.3 · 10 is below 3
  EXPECT_EQ(allowed_accepts(1e-6, 999'999), 0);
  EXPECT_EQ(allowed_accepts(1e-6, 1'000'000), 1);
  EXPECT_EQ(allowed_accepts(1e-6, 2'638'360'419'683), 2'638'360);
  EXPECT_EQ(allowed_accepts(0, 10), 0);
  EXPECT_EQ(allowed_accepts(1, 10), 10);
  for (std::int64_t n = 1; n < 3000; n += 7) {
    for (const double far : {0.1, 0.01, 0.001, 0.7}) {
      const std::int64_t allowed = allowed_accepts(far, n);
      EXPECT_LE(static_cast<double>(allowed) / static_cast<double>(n), far);
      EXPECT_GT(static_cast<double>(allowed + 1) / static_cast<double>(n), far);
    }
  }
}

TEST(CountAbove, LeavesOutWhatIsEqual) {
  const std::vector<double> scores = {-1, 0, 0.5, 0.5, 2};
  EXPECT_EQ(count_above(scores, 0.5), 1);
  EXPECT_EQ(count_above(scores, 0.4), 3);
  EXPECT_EQ(count_above(scores, 2), 0);
  EXPECT_EQ(count_above({}, 0), 0);
}

TEST(AcceptRate, IsResolvedWhereOneFalseAcceptIsAllowed) {
  EXPECT_TRUE((AcceptRate{.wanted_far = 1e-3, .genuine = 1, .impostors = 1000}.resolved()));
  EXPECT_FALSE((AcceptRate{.wanted_far = 1e-3, .genuine = 1, .impostors = 999}.resolved()));
}

}  // namespace
}  // namespace pfc
