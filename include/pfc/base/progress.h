#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace pfc {

/// `1:02:03` or `2:03`.
std::string format_duration(std::chrono::seconds duration);

/// Prints a line on stderr, made printable.
void tell(std::string_view line);

/// One line on stderr that long work keeps current. On a terminal the line is rewritten in place a
/// few times a second; elsewhere (a log file, a pipe) it is printed about twenty times over the
/// whole work, once a minute where that is more often, and never twice in a second but for the last
/// one, each time on a line of its own. The time that is left is reckoned from the first line on:
/// what came before it is slower than the rest.
class ProgressLine {
 public:
  using Clock = std::chrono::steady_clock;

  /// `total` > 0 units of work, of which `done` are behind us (work that was taken up again). A
  /// quiet one prints notes only. `now` is for tests.
  explicit ProgressLine(std::int64_t total, std::int64_t done = 0, bool quiet = false,
                        std::function<Clock::time_point()> now = Clock::now);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Whether `show` would print now; for callers whose text costs something.
  bool due(std::int64_t done) const;
  /// Prints `text` and the time that is left, where it is time to. With all the work done it prints
  /// the time that was taken, and ends the line.
  void show(std::int64_t done, std::string_view text);
  /// Prints a line of its own, above the current one.
  void note(std::string_view text);
  /// Takes the current line off the terminal, before something else is printed there.
  void clear();

 private:
  struct Shown {
    std::int64_t done;
    Clock::time_point when;
  };

  std::function<Clock::time_point()> now_;
  std::int64_t total_;
  bool quiet_, terminal_;
  Clock::time_point start_, shown_;
  std::optional<Shown> first_;
  std::int64_t next_share_ = 0;  ///< in twentieths of the work
  bool open_ = false;            ///< a line without its end stands on the terminal
  bool ended_ = false;
};

}  // namespace pfc
