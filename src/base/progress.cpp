#include "pfc/base/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::int64_t kShares = 20;
constexpr std::chrono::milliseconds kRefresh{200};
constexpr std::chrono::seconds kShortestSilence{1};  // when there is no terminal
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

void tell(std::string_view line) {
  std::fprintf(stderr, "%s\n", printable_line(line).c_str());
}

void print_text(std::string_view text, std::initializer_list<std::filesystem::path> files) {
  struct stat out {};
  struct stat info {};
  const bool beside = std::ranges::any_of(files, [&](const std::filesystem::path& file) {
    return ::stat(file.c_str(), &info) == 0 && ::fstat(STDOUT_FILENO, &out) == 0 &&
           info.st_dev == out.st_dev && info.st_ino == out.st_ino;
  });
  if (!beside) {
    std::cout << text;
    return;
  }
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    tell(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

ProgressLine::ProgressLine(std::int64_t total, std::int64_t done, bool quiet,
                           std::function<Clock::time_point()> now)
    : now_(std::move(now)),
      total_(total),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) != 0),
      start_(now_()),
      shown_(terminal_ ? start_ - kRefresh : start_) {
  while (next_share_ <= kShares && done * kShares > next_share_ * total_) ++next_share_;
}

ProgressLine::~ProgressLine() {
  if (open_) std::fputc('\n', stderr);
}

bool ProgressLine::due(std::int64_t done) const {
  if (quiet_ || ended_) return false;
  if (done >= total_) return true;
  const auto silent = now_() - shown_;
  if (terminal_) return silent >= kRefresh;
  return silent >= kLongestSilence ||
         (silent >= kShortestSilence && done * kShares >= next_share_ * total_);
}

void ProgressLine::show(std::int64_t done, std::string_view text) {
  if (!due(done)) return;
  shown_ = now_();
  next_share_ = done * kShares / total_ + 1;
  ended_ = done >= total_;
  std::string line = printable_line(text);
  if (ended_) {
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
  open_ = terminal_ && !ended_;
  std::fprintf(stderr, "%s%s%s", terminal_ ? "\r\033[K" : "", line.c_str(), open_ ? "" : "\n");
  std::fflush(stderr);
}

void ProgressLine::note(std::string_view text) {
  clear();
  tell(text);
}

void ProgressLine::clear() {
  if (open_) std::fputs("\r\033[K", stderr);
  open_ = false;
}

}  // namespace pfc
