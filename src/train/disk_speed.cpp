#include "pfc/train/disk_speed.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "base/page_file.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMostBytes = std::int64_t{1} << 30, kLeastBytes = std::int64_t{64} << 20;
constexpr std::int64_t kRun = std::int64_t{16} << 20;  ///< bytes of a long transfer
constexpr std::int64_t kBatch = 2048;                  ///< pages, about those of a step
constexpr double kSeconds = 1;                         ///< of each measurement

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A file that its folder shows no more, so that a killed program leaves none.
PageFile hidden_file(const fs::path& path, std::int64_t bytes) {
  PageFile::create(path, bytes);
  struct Removed {
    const fs::path& path;
    ~Removed() {
      std::error_code gone;
      fs::remove(path, gone);
    }
  };
  const Removed at_the_end{path};
  return PageFile(path, PageFile::Access::kReadWrite);
}

class Measurement {
 public:
  Measurement(const fs::path& path, std::int64_t bytes)
      : file_(hidden_file(path, bytes)), memory_(aligned_pages(kRun)) {
    // Some drives do not store pages of zeros.
    const CounterRandom random(0, RandomStream::kBenchmark);
    for (std::int64_t at = 0; at < kRun; at += 8) {
      const std::uint64_t bits = random.bits(0, static_cast<std::uint64_t>(at));
      std::memcpy(memory_.get() + at, &bits, 8);
    }
  }

  DiskSpeed run() {
    DiskSpeed speed;
    speed.how = file_.how();
    // First all places are written once: a place that was only reserved is read without the drive.
    speed.bytes_written = long_runs(true);
    speed.bytes_read = long_runs(false);
    speed.pages_written = single_pages(true);
    speed.pages_read = single_pages(false);
    return speed;
  }

 private:
  void move(bool writes, std::span<const PageTransfer> transfers) {
    if (writes) {
      file_.write(transfers);
    } else {
      file_.read(transfers);
    }
  }

  double long_runs(bool writes) {
    const auto start = Clock::now();
    std::int64_t done = 0;
    // Writing says how far the other measurements may go: a slow drive does not fill the file.
    const std::int64_t end = writes ? file_.bytes() / kRun * kRun : written_;
    while (done < end && (since(start) < kSeconds || (writes && done < kLeastBytes))) {
      move(writes, std::array{PageTransfer{done, memory_.get(), kRun}});
      done += kRun;
    }
    if (writes) {
      file_.sync();
      written_ = done;
    }
    return static_cast<double>(done) / since(start);
  }

  double single_pages(bool writes) {
    const CounterRandom random(1, RandomStream::kBenchmark);
    const std::int64_t places = written_ / kPageBytes / 2;
    std::vector<std::int64_t> drawn;
    std::vector<PageTransfer> batch;
    const auto start = Clock::now();
    std::int64_t done = 0;
    double seconds = 0;
    for (std::uint64_t round = 0; seconds < kSeconds; ++round) {
      drawn.clear();
      batch.clear();
      for (std::uint64_t i = 0; i < kBatch; ++i)
        drawn.push_back(random.below(places, round * 2 + (writes ? 1 : 0), i));
      std::sort(drawn.begin(), drawn.end());
      drawn.erase(std::unique(drawn.begin(), drawn.end()), drawn.end());
      for (const std::int64_t place : drawn) {
        // Every second page: neighbours would become one request.
        const auto memory = static_cast<std::int64_t>(batch.size()) * kPageBytes;
        batch.push_back({2 * place * kPageBytes, memory_.get() + memory, kPageBytes});
      }
      move(writes, batch);
      if (writes) file_.sync();
      done += static_cast<std::int64_t>(batch.size());
      seconds = since(start);
    }
    return static_cast<double>(done) / seconds;
  }

  PageFile file_;
  Pages memory_;
  std::int64_t written_ = 0;
};

static_assert(kBatch * kPageBytes <= kRun);

}  // namespace

const DiskSpeed& assumed_disk() {
  static const DiskSpeed disk{.pages_read = 400e3,
                              .pages_written = 100e3,
                              .bytes_read = 3e9,
                              .bytes_written = 1.5e9,
                              .how = ""};
  return disk;
}

DiskSpeed measure_disk(const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error)
    throw Error(folder.string() + ": cannot be measured: " + error.message() +
                "; name a folder that there is");
  const auto quarter = static_cast<std::int64_t>(space.available / 4);
  if (quarter < kLeastBytes)
    throw Error(folder.string() +
                ": cannot be measured: " + size_text(static_cast<std::int64_t>(space.available)) +
                " are free, want " + size_text(4 * kLeastBytes));
  const std::int64_t bytes = std::min(kMostBytes, quarter / kRun * kRun);
  return Measurement(folder / (".pfc-disk-speed-" + std::to_string(::getpid())), bytes).run();
}

}  // namespace pfc
