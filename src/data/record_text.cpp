// The text files beside a .rec: .idx and property.
#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "base/shown.h"
#include "data/pages_read.h"
#include "data/record_index.h"
#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {
namespace {

/// Takes a decimal number off the front of `text`.
template <class T>
bool take_number(std::string_view& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take(std::string_view& text, char wanted) {
  if (text.empty() || text.front() != wanted) return false;
  text.remove_prefix(1);
  return true;
}

/// `on_read` is told which bytes were read.
template <class OnRead>
RecordList lines_of(std::span<const std::byte> bytes, const std::string& name, OnRead on_read) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  RecordList list;
  const auto lines_at_most = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  list.keys.reserve(lines_at_most);
  list.offsets.reserve(lines_at_most);
  on_read(0, bytes.size());
  for (Lines lines(text, name); lines.next();) {
    std::string_view rest = lines.line();
    const auto begin = static_cast<std::size_t>(rest.data() - text.data());
    std::uint32_t key = 0;
    std::uint64_t offset = 0;
    if (!take_number(rest, key) || !take(rest, '\t') || !take_number(rest, offset) ||
        !rest.empty()) {
      lines.fail("\"key\\toffset\", the key below 2^32");
    }
    list.add(key, offset);
    on_read(begin, begin + lines.line().size());
  }
  return list;
}

}  // namespace

std::filesystem::path idx_path_of(const std::filesystem::path& rec) {
  return std::filesystem::path(rec).replace_extension(".idx");
}

std::filesystem::path property_path_of(const std::filesystem::path& rec) {
  return rec.parent_path() / "property";
}

std::string idx_line(std::uint64_t key, std::uint64_t offset) {
  return std::to_string(key) + "\t" + std::to_string(offset) + "\n";
}

RecordList parse_idx(std::span<const std::byte> text, const std::string& name) {
  return lines_of(text, name, [](std::size_t, std::size_t) {});
}

RecordList read_idx(const std::filesystem::path& idx) {
  const MappedFile file(idx);
  file.expect(Access::kSequential);
  PagesRead pages(file);
  return lines_of(file.bytes(), idx.string(),
                  [&](std::size_t begin, std::size_t end) { pages.read(begin, end); });
}

std::int64_t parse_property(std::string_view text, const std::string& name) {
  const std::string_view line = first_line(list_text(text, name));
  std::array<std::uint32_t, 3> numbers{};  // identities, height, width
  std::string_view rest = line;
  const auto take_blanks = [&] {
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  };
  bool is_good = true;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0) is_good = is_good && take(rest, ',');
    take_blanks();
    is_good = is_good && take_number(rest, numbers[i]);
    take_blanks();
  }
  if (!is_good || !rest.empty() || numbers[1] != kFaceSize || numbers[2] != kFaceSize) {
    throw DataError(name, "line 1",
                    "found " + shown(line) + ", want \"C,112,112\", C the number of identities");
  }
  return numbers[0];
}

}  // namespace pfc
