#pragma once

#include <csignal>

namespace pfc {

/// While this lives, SIGTERM, SIGINT, SIGUSR1 (which mpirun hands on at once, and clusters send
/// ahead of the end), SIGHUP and SIGPIPE (of a terminal, or an ssh, that is gone) ask the program
/// to stop instead of ending it. The second of a kind ends it, as without this; but not of the last
/// two: a lost terminal sends SIGHUP twice, itself and through its shell, and each message to a
/// closed pipe is a SIGPIPE. A signal that the program was started to ignore (nohup, a shell's
/// background job) stays ignored.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// Whether one came.
  bool made() const;

 private:
  struct sigaction terminate_, interrupt_, user_, hang_up_, pipe_;  ///< what they did before
};

}  // namespace pfc
