#include "base/temporary_file.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

using Lock = SeenTemporary::Lock;

TEST(IsLeftOver, NeverWhatAWriterHoldsALockOn) {
  for (const bool this_machine : {false, true})
    for (const bool idle : {false, true})
      EXPECT_FALSE(is_left_over({Lock::kHeld, this_machine, idle}));
}

TEST(IsLeftOver, OfThisMachineAtOnceAndOfAnotherWhenIdle) {
  EXPECT_TRUE(is_left_over({Lock::kTaken, true, false}));
  EXPECT_FALSE(is_left_over({Lock::kTaken, false, false}));
  EXPECT_TRUE(is_left_over({Lock::kTaken, false, true}));
}

TEST(IsLeftOver, WithoutLocksWhenIdle) {
  EXPECT_FALSE(is_left_over({Lock::kNone, true, false}));
  EXPECT_TRUE(is_left_over({Lock::kNone, true, true}));
  EXPECT_TRUE(is_left_over({Lock::kNone, false, true}));
}

}  // namespace
}  // namespace pfc
