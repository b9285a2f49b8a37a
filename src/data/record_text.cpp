// The text files beside a .rec: .idx and property.
#include <algorithm>
#include <charconv>
#include <string_view>

#include "data/pages_read.h"
#include "data/record_index.h"
#include "data/shown.h"
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

/// `on_read` is told which bytes of them were read.
template <class OnRead>
RecordList lines_of(std::span<const std::byte> bytes, const std::string& name, OnRead on_read) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  RecordList list;
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n'));
  list.keys.reserve(lines);
  list.offsets.reserve(lines);
  on_read(0, bytes.size());
  while (!text.empty()) {
    const std::string_view line = text;
    std::uint32_t key = 0;
    std::uint64_t offset = 0;
    if (!take_number(text, key) || !take(text, '\t') || !take_number(text, offset) ||
        !take(text, '\n')) {
      throw DataError(
          name, "line " + std::to_string(list.size() + 1),
          "found " + shown(line) + ", want \"key\\toffset\" and a newline, the key below 2^32");
    }
    list.add(key, offset);
    on_read(bytes.size() - line.size(), bytes.size() - text.size());
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
  const std::string_view line = text;
  std::uint32_t identities = 0, height = 0, width = 0;
  const bool numbers = take_number(text, identities) && take(text, ',') &&
                       take_number(text, height) && take(text, ',') && take_number(text, width);
  take(text, '\r');
  if (!numbers || !(text.empty() || text.front() == '\n') || height != kFaceSize ||
      width != kFaceSize) {
    throw DataError(name, "line 1",
                    "found " + shown(line) + ", want \"C,112,112\", C the number of identities");
  }
  return identities;
}

}  // namespace pfc
