#pragma once

#include <chrono>
#include <system_error>
#include <thread>

#include "pfc/base/error.h"

namespace pfc {

/// Whether the same attempt may succeed in a moment. A missing file and a folder will not change.
inline bool may_pass(const IoError& error) {
  return !error.not_found() && error.code() != std::errc::is_a_directory;
}

/// Calls attempt(), and again after an error that may pass: a file server that is away for a moment
/// must not end a run of weeks. `wait(duration)` is for tests.
template <class Attempt, class Wait>
auto retry_io(const Attempt& attempt, const Wait& wait) {
  using namespace std::chrono_literals;
  for (const auto pause : {50ms, 200ms, 800ms}) {
    try {
      return attempt();
    } catch (const IoError& error) {
      if (!may_pass(error)) throw;
    }
    wait(pause);
  }
  return attempt();
}

template <class Attempt>
auto retry_io(const Attempt& attempt) {
  return retry_io(attempt,
                  [](std::chrono::milliseconds pause) { std::this_thread::sleep_for(pause); });
}

}  // namespace pfc
