#pragma once

#include <csignal>

namespace pfc {

/// While this lives, SIGTERM, SIGINT and SIGUSR1 (which mpirun hands on at once, and clusters send
/// ahead of the end) ask the program to stop instead of ending it; the second of a kind ends it, as
/// without this. A signal that the program was started to ignore (nohup, a shell's background job)
/// stays ignored.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// Whether one came.
  bool made() const;

 private:
  struct sigaction terminate_, interrupt_, user_;  ///< what they did before
};

}  // namespace pfc
