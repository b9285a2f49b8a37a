#include "pfc/base/stop_request.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

TEST(StopRequest, IsMadeByASignalThatWouldHaveEndedTheProgram) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGPIPE}) {
    const StopRequest stop;
    EXPECT_FALSE(stop.made());
    std::raise(signal);
    EXPECT_TRUE(stop.made());
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

TEST(StopRequest, IsNotEndedByATerminalThatSaysTwiceThatItIsGone) {
  const StopRequest stop;
  for (const int signal : {SIGHUP, SIGHUP, SIGPIPE, SIGPIPE}) std::raise(signal);
  EXPECT_TRUE(stop.made());
}

TEST(StopRequest, LeavesSignalsAsTheyWere) {
  EXPECT_EXIT(
      {
        { const StopRequest stop; }
        std::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(
      {
        std::signal(SIGINT, SIG_IGN);
        std::signal(SIGHUP, SIG_IGN);  // as nohup does
        const StopRequest stop;
        std::raise(SIGINT);
        std::raise(SIGHUP);
        std::exit(stop.made() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace pfc
