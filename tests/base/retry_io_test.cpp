#include "base/retry_io.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

namespace pfc {
namespace {

struct Attempts {
  int error;     ///< errno
  int failures;  ///< before one succeeds
  int made = 0;
  std::vector<std::int64_t> waits = {};

  int run() {
    return retry_io(
        [&] {
          if (++made <= failures) throw IoError("train.rec", "read", error);
          return 7;
        },
        [&](std::chrono::milliseconds pause) { waits.push_back(pause.count()); });
  }
};

TEST(RetryIo, AServerThatWasAwayForAMomentIsNoError) {
  for (const int error : {EIO, ESTALE, EACCES, ENFILE, EMFILE, ETIMEDOUT}) {
    Attempts attempts{error, 2};
    EXPECT_EQ(attempts.run(), 7);
    EXPECT_EQ(attempts.made, 3);
    EXPECT_EQ(attempts.waits, (std::vector<std::int64_t>{50, 200}));
  }
}

TEST(RetryIo, GivesUpAfterSomeAttempts) {
  Attempts attempts{EIO, 100};
  EXPECT_THROW(attempts.run(), IoError);
  EXPECT_EQ(attempts.made, 4);
}

TEST(RetryIo, DoesNotWaitForWhatIsNotThere) {
  for (const int error : {ENOENT, ENOTDIR, EISDIR}) {
    Attempts attempts{error, 100};
    EXPECT_THROW(attempts.run(), IoError);
    EXPECT_EQ(attempts.made, 1);
  }
}

}  // namespace
}  // namespace pfc
