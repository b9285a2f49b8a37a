#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace pfc {

/// `1:02:03` or `2:03`.
std::string format_duration(std::chrono::seconds duration);

/// Prints a line to stderr, made printable.
void tell(std::string_view line);

/// Prints lines for people to standard output. If one of the `files` that the command writes is
/// standard output (/dev/stdout), they go to stderr, so that the reader of that file finds nothing
/// else in it.
void print_text(std::string_view text, std::initializer_list<std::filesystem::path> files);

/// One line on stderr that shows how far long work is. On a terminal the line is rewritten in place
/// a few times a second. Elsewhere (a log file, a pipe) each update is a line of its own: about
/// twenty over the whole work, or one a minute if that is more often, and never two within a second
/// except for the last one. The remaining time is estimated from the first line on, because what
/// comes before it is slower.
class ProgressLine {
 public:
  using Clock = std::chrono::steady_clock;

  /// `total` > 0 is the number of units of work; `done` of them were finished earlier, if the work
  /// is continued. With `quiet` only notes are printed. `now` is for tests.
  explicit ProgressLine(std::int64_t total, std::int64_t done = 0, bool quiet = false,
                        std::function<Clock::time_point()> now = Clock::now);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Whether `show` would print now; for callers whose text is costly to make.
  bool due(std::int64_t done) const;
  /// Prints `text` and the remaining time, if an update is due. When all the work is done, prints
  /// the time that it took and ends the line.
  void show(std::int64_t done, std::string_view text);
  /// Prints a separate line above the current one.
  void note(std::string_view text);
  /// Removes the current line from the terminal, before something else is printed there.
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
  bool open_ = false;            ///< a line without its end is on the terminal
  bool ended_ = false;
};

}  // namespace pfc
