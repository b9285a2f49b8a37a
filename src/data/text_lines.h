#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/shown.h"
#include "pfc/base/error.h"

namespace pfc {

/// The lines of a list that are not empty, with their numbers and their fields.
class TextLines {
 public:
  /// Fields are separated by `separator`; where it is 0, by tabs, or by spaces in a line without a
  /// tab. `name` stands for the file in messages; both outlive this.
  TextLines(std::span<const std::byte> bytes, const std::string& name, char separator = 0)
      : text_(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
        name_(name),
        separator_(separator) {}

  /// The next one; false at the end.
  bool next() {
    while (!text_.empty()) {
      const std::size_t end = std::min(text_.find('\n'), text_.size());
      line_ = text_.substr(0, end);
      text_.remove_prefix(std::min(end + 1, text_.size()));
      ++number_;
      if (line_.ends_with('\r')) line_.remove_suffix(1);
      split();
      if (!fields_.empty()) return true;
    }
    return false;
  }

  const std::vector<std::string_view>& fields() const { return fields_; }
  std::int64_t number() const { return number_; }
  [[noreturn]] void fail(const std::string& want) const {
    throw DataError(name_, "line " + std::to_string(number_),
                    "found " + shown(line_) + ", want " + want);
  }

 private:
  void split() {
    const char separator =
        separator_ != 0 ? separator_ : (line_.find('\t') != line_.npos ? '\t' : ' ');
    fields_.clear();
    for (std::string_view rest = line_; !rest.empty();) {
      const std::size_t end = std::min(rest.find(separator), rest.size());
      if (end > 0) fields_.push_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }

  std::string_view text_, line_;
  const std::string& name_;
  char separator_;
  std::int64_t number_ = 0;
  std::vector<std::string_view> fields_;
};

}  // namespace pfc
