#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pfc {

/// `1:02:03` or `2:03`.
std::string format_duration(std::chrono::seconds duration);

/// One line on stderr that long work keeps current. On a terminal the line is rewritten in place a
/// few times a second; elsewhere (a log file, a pipe) it is printed about twenty times over the
/// whole work, and once a minute where that is more often, each time on a line of its own. The time
/// that is left is reckoned from the first line on: what came before it is slower than the rest.
class ProgressLine {
 public:
  /// `total` > 0 units of work, of which `done` are behind us (work that was taken up again). A
  /// quiet one prints notes only.
  explicit ProgressLine(std::int64_t total, std::int64_t done = 0, bool quiet = false);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Whether `show` would print now; for callers whose text costs something.
  bool due(std::int64_t done) const;
  /// Prints `text` and the time that is left, where it is time to.
  void show(std::int64_t done, std::string_view text);
  /// Prints a line of its own, above the current one.
  void note(std::string_view text);

 private:
  using Clock = std::chrono::steady_clock;

  struct Shown {
    std::int64_t done;
    Clock::time_point when;
  };

  std::int64_t total_;
  bool quiet_, terminal_;
  Clock::time_point start_, shown_;
  std::optional<Shown> first_;
  std::int64_t next_share_ = 0;  ///< in twentieths of the work
  bool open_ = false;            ///< a line without its end stands on the terminal
};

}  // namespace pfc
