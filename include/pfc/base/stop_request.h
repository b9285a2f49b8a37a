#pragma once

#include <csignal>

namespace pfc {

/// While this lives, SIGTERM and SIGINT ask the program to stop instead of ending it; the second
/// one ends it, as without this. A signal that the program was started to ignore (nohup, a shell's
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
  struct sigaction terminate_, interrupt_;  ///< what they did before
};

}  // namespace pfc
