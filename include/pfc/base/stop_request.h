#pragma once

#include <csignal>

namespace pfc {

/// While this object lives, SIGTERM, SIGINT, SIGUSR1, SIGHUP and SIGPIPE ask the program to stop
/// and do not end it. (mpirun forwards SIGUSR1 at once, and clusters send it before a job's time is
/// up. SIGHUP and SIGPIPE come when a terminal or an ssh connection is gone.) A second signal of
/// the same kind ends the program, as without this object. SIGHUP and SIGPIPE are the exception: a
/// lost terminal sends SIGHUP twice, once itself and once through its shell, and each message to a
/// closed pipe is a SIGPIPE. A signal that the program was started to ignore (nohup, a background
/// job of a shell) stays ignored.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// Whether such a signal came.
  bool made() const;

 private:
  struct sigaction terminate_, interrupt_, user_, hang_up_, pipe_;  ///< the handlers from before
};

}  // namespace pfc
