#pragma once

#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace pfc {

/// The images of a set that did not decode in an earlier run, as a text file. The first line binds
/// the list to its source; then "key\treason" lines are appended. A line without a tab, as a crash
/// may leave, is skipped. A file bound to another source counts as empty and is begun anew. Threads
/// and processes may append at the same time.
class ExclusionList {
 public:
  /// `source` is one line that changes when the source does. Throws IoError if the file exists and
  /// cannot be read.
  ExclusionList(std::filesystem::path file, std::string_view source);

  /// Uses `keys` in place of what was read from the file. The file does not change.
  void replace(const std::vector<std::string>& keys);

  bool empty() const { return keys_.empty(); }
  /// Adds each key once. If the list cannot be written, for example on a read-only disk, it is only
  /// kept in memory, and the next start meets the image again.
  void add(std::string_view key, std::string_view reason);
  /// All keys, sorted.
  std::vector<std::string> keys() const;
  /// Calls `function(key)` for every key of the list.
  template <class Function>
  void for_each(Function function) const {
    const std::lock_guard lock(mutex_);
    for (const std::string& key : keys_) function(key);
  }

 private:
  void append(const std::string& line) const;

  std::filesystem::path file_;
  std::string header_;
  mutable std::mutex mutex_;
  std::unordered_set<std::string> keys_;
};

}  // namespace pfc
