#include "pfc/base/memory.h"

#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

/// The number that follows a word in one of the system's files.
std::optional<std::int64_t> number_after(const std::string& wanted, const fs::path& path) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    std::int64_t number = 0;
    if (word == wanted && file >> number) return number;
  }
  return std::nullopt;
}

/// Nothing where the file is missing or says "max".
std::optional<std::int64_t> first_number(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

/// The folders of this process's control group (version 2) and of those above it.
std::vector<fs::path> control_groups(const fs::path& root) {
  const fs::path top = root / "sys/fs/cgroup";
  std::vector<fs::path> groups;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("0::/")) continue;
    for (fs::path group = line.substr(4);; group = group.parent_path()) {
      groups.push_back(top / group);
      if (group.empty()) return groups;
    }
  }
  return groups;
}

}  // namespace

void keep_freed_memory() {
#ifdef __GLIBC__
  // Measured on `tiny`, batch 128, two cores: 24% more images/s for 6% more memory.
  mallopt(M_MMAP_MAX, 0);                // large blocks come from the heap …
  mallopt(M_TRIM_THRESHOLD, -1);         // … which never shrinks …
  mallopt(M_TOP_PAD, 64 * 1024 * 1024);  // … and grows in few steps
#endif
}

std::int64_t available_memory(const fs::path& root) {
  std::int64_t available =
      number_after("MemAvailable:", root / "proc/meminfo").value_or(kUnlimited >> 10) << 10;
  // Every group above this one may set a limit too. A container sees its own group as the top.
  for (const fs::path& group : control_groups(root)) {
    const auto limit = first_number(group / "memory.max");
    const auto used = first_number(group / "memory.current");
    // Pages of files that nobody has used lately can be reclaimed.
    const auto reclaimable = number_after("inactive_file", group / "memory.stat").value_or(0);
    if (limit && used) available = std::min(available, *limit - *used + reclaimable);
  }
  return std::max<std::int64_t>(available, 0);
}

std::int64_t peak_memory() {
  return number_after("VmHWM:", "/proc/self/status").value_or(0) * 1024;
}

void reset_peak_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): sets the peak to what is resident now
}

std::string out_of_gpu_memory(const std::string& thrown, std::string_view advice) {
  constexpr std::string_view kEnd = " is free.";
  const std::size_t end = thrown.find(kEnd);
  const std::string what = end == std::string::npos ? thrown.substr(0, thrown.find('\n'))
                                                    : thrown.substr(0, end + kEnd.size() - 1);
  return what + "; " + std::string(advice);
}

}  // namespace pfc
