#include "pfc/base/progress.h"

#include <unistd.h>

#include <cstdio>

namespace pfc {
namespace {

constexpr std::int64_t kShares = 20;
constexpr std::chrono::milliseconds kRefresh{200};
constexpr std::chrono::minutes kLongestSilence{1};

}  // namespace

std::string format_duration(std::chrono::seconds duration) {
  const auto seconds = duration.count();
  char text[32];
  if (seconds >= 3600) {
    std::snprintf(text, sizeof(text), "%lld:%02d:%02d", static_cast<long long>(seconds / 3600),
                  static_cast<int>(seconds / 60 % 60), static_cast<int>(seconds % 60));
  } else {
    std::snprintf(text, sizeof(text), "%d:%02d", static_cast<int>(seconds / 60),
                  static_cast<int>(seconds % 60));
  }
  return text;
}

ProgressLine::ProgressLine(std::int64_t total, std::int64_t done, bool quiet)
    : total_(total),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      shown_(start_ - kRefresh) {
  while (next_share_ <= kShares && done * kShares > next_share_ * total_) ++next_share_;
}

ProgressLine::~ProgressLine() {
  if (open_) std::fputc('\n', stderr);
}

bool ProgressLine::due(std::int64_t done) const {
  if (quiet_) return false;
  if (terminal_) return done == total_ || Clock::now() - shown_ >= kRefresh;
  return done * kShares >= next_share_ * total_ || Clock::now() - shown_ >= kLongestSilence;
}

void ProgressLine::show(std::int64_t done, std::string_view text) {
  if (!due(done)) return;
  shown_ = Clock::now();
  next_share_ = done * kShares / total_ + 1;
  std::string line(text);
  if (done >= total_) {
    line += "  took " +
            format_duration(std::chrono::duration_cast<std::chrono::seconds>(shown_ - start_));
  } else if (!first_) {
    first_ = {done, shown_};
  } else if (done > first_->done) {
    const double each = std::chrono::duration<double>(shown_ - first_->when).count() /
                        static_cast<double>(done - first_->done);
    line += "  ETA " + format_duration(std::chrono::seconds(
                           static_cast<std::int64_t>(each * static_cast<double>(total_ - done))));
  }
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  open_ = terminal_;
  std::fflush(stderr);
}

void ProgressLine::note(std::string_view text) {
  std::fprintf(stderr, "%s%.*s\n", open_ ? "\r\033[K" : "", static_cast<int>(text.size()),
               text.data());
  open_ = false;
}

}  // namespace pfc
