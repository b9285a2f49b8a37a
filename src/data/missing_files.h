#pragma once

#include <cstdint>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {

/// Files of a list that are missing. All are counted before the first is needed.
class MissingFiles {
 public:
  void add(const std::string& file, std::int64_t line) {
    constexpr std::int64_t kNamed = 3;
    if (count_ < kNamed)
      named_ += (count_ == 0 ? "" : ", ") + printable(file) + " in line " + std::to_string(line);
    if (count_ == kNamed) named_ += ", ...";
    ++count_;
  }
  /// Throws Error if one is missing. `total` is how many files the list names, `root` the folder
  /// where they were searched.
  void check(const std::string& list, std::int64_t total, const std::string& root) const {
    if (count_ == 0) return;
    throw Error(list + ": " + grouped(count_) + " of " + counted(total, "image") +
                (count_ == 1 ? " is" : " are") + " not there: " + named_ + "; paths begin in " +
                root + ", `pfc data pack --root` takes another folder");
  }

 private:
  std::int64_t count_ = 0;
  std::string named_;  ///< the first few
};

}  // namespace pfc
