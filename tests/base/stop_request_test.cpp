#include "pfc/base/stop_request.h"

#include <gtest/gtest.h>

#include <csignal>

namespace pfc {
namespace {

TEST(StopRequest, IsMadeByASignalThatWouldHaveEndedTheProgram) {
  for (const auto& [signal, name] : {std::pair{SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}}) {
    const StopRequest stop;
    EXPECT_FALSE(stop.made());
    EXPECT_EQ(stop.signal(), "");
    std::raise(signal);
    EXPECT_TRUE(stop.made());
    EXPECT_EQ(stop.signal(), name);
  }
}

TEST(StopRequest, LetsTheSecondSignalEndTheProgram) {
  EXPECT_EXIT(
      {
        const StopRequest stop;
        std::raise(SIGTERM);
        std::raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

TEST(StopRequest, LeavesSignalsAsTheyWere) {
  EXPECT_EXIT(
      {
        { const StopRequest stop; }
        std::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace pfc
