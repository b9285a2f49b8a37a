#include <atomic>
#include <charconv>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "data/file_stamp.h"
#include "data/md5.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/paths.h"
#include "pfc/data/distributed_set.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// Results of earlier checks: lines "md5 stamp name".
class Checked {
 public:
  explicit Checked(const fs::path& path) : path_(path) {
    if (!is_there(path)) return;
    std::istringstream file(read_file(path));
    for (std::string line; std::getline(file, line);) {
      const std::size_t stamp = line.find(' ') + 1, name = line.rfind('\t') + 1;
      if (stamp == 0 || name <= stamp) continue;  // not a line of ours: ignored
      sums_[line.substr(name) + "\t" + line.substr(stamp, name - stamp - 1)] =
          line.substr(0, stamp - 1);
    }
  }

  std::string find(const std::string& name, const FileStamp& stamp) const {
    const auto found = sums_.find(name + "\t" + stamp.text());
    return found == sums_.end() ? "" : found->second;
  }

  void add(const std::string& name, const FileStamp& stamp, const std::string& md5) {
    sums_[name + "\t" + stamp.text()] = md5;
    std::string text;
    for (const auto& [key, sum] : sums_) {
      const std::size_t tab = key.find('\t');
      text += sum + " " + key.substr(tab + 1) + "\t" + key.substr(0, tab) + "\n";
    }
    try {
      write_file(path_, text);
    } catch (const Error&) {
      // The file only saves time, and the folder may be read-only.
    }
  }

 private:
  fs::path path_;
  std::map<std::string, std::string> sums_;  // by name and stamp
};

PartState state_of(const DistributedFile& part, const std::string& md5) {
  if (part.md5.empty()) return PartState::kUnknownSum;
  return md5 == part.md5 ? PartState::kGood : PartState::kBad;
}

}  // namespace

std::vector<CheckedPart> check_parts(
    const DistributedSet& set, const fs::path& folder, int threads,
    const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  Checked checked(folder / "checked.txt");
  std::vector<CheckedPart> parts(set.parts.size());
  std::int64_t total = 0, done = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const fs::path path = folder / set.parts[i].name;
    if (!fs::is_regular_file(path)) continue;
    parts[i].bytes = fs::file_size(path);
    total += static_cast<std::int64_t>(parts[i].bytes);
  }

  std::mutex mutex;  // guards everything shared below
  std::exception_ptr failure;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  const auto count = [&](std::uint64_t bytes) {
    const std::lock_guard lock(mutex);
    done += static_cast<std::int64_t>(bytes);
    progress(done, total);
  };
  const auto check_one = [&](std::size_t i) {
    const std::string& name = set.parts[i].name;
    const fs::path path = folder / name;
    if (!fs::is_regular_file(path)) return;
    const FileStamp stamp = stamp_of(path);
    {
      const std::lock_guard lock(mutex);
      parts[i].md5 = checked.find(name, stamp);
    }
    if (!parts[i].md5.empty()) {
      count(parts[i].bytes);
    } else {
      std::ifstream file(path, std::ios::binary);
      std::vector<char> block(std::size_t{1} << 20);
      Md5 md5;
      while (file.read(block.data(), std::ssize(block)) || file.gcount() > 0) {
        if (stop) return;
        const auto read = static_cast<std::size_t>(file.gcount());
        md5.add(std::as_bytes(std::span(block).first(read)));
        count(read);
      }
      if (file.bad() || !file.eof()) throw Error(path.string() + ": cannot be read");
      parts[i].md5 = md5.finish();
      const std::lock_guard lock(mutex);
      checked.add(name, stamp, parts[i].md5);
    }
    parts[i].state = state_of(set.parts[i], parts[i].md5);
  };
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < parts.size() && !stop; i = next++) check_one(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      stop = true;
    }
  };
  {
    std::vector<std::jthread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return parts;
}

}  // namespace pfc
