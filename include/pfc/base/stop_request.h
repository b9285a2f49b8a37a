#pragma once

#include <string_view>

namespace pfc {

/// While this lives, SIGTERM and SIGINT ask the program to stop instead of ending it; the second
/// one ends it, as without this. One at a time may live.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// Whether one came.
  bool made() const;
  /// Its name, "" before it came.
  std::string_view signal() const;
};

}  // namespace pfc
