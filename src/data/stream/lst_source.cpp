#include "data/stream/lst_source.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "data/image_file.h"
#include "data/shown.h"
#include "data/stream/sources.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// im2rec writes labels as floats: "7.000000".
bool take_label(std::string_view text, std::int32_t& identity) {
  double label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc{} || end != text.data() + text.size()) return false;
  if (!(label >= 0 && label < static_cast<double>(kMostIdentities)) || label != std::trunc(label))
    return false;
  identity = static_cast<std::int32_t>(label);
  return true;
}

class LstSource final : public FaceSource {
 public:
  LstSource(const fs::path& lst, const fs::path& root)
      : lst_(lst), root_(root), entries_(parse_lst(lst_.bytes(), lst.string())) {}

  bool next(Face& face) override {
    if (i_ == entries_.size()) return false;
    const LstEntry& entry = entries_[i_++];
    const auto* text = reinterpret_cast<const char*>(lst_.bytes().data());
    face.name.assign(text + entry.path_begin, entry.path_size);
    face.identity = entry.identity;
    face.image = read_image_file(root_ / face.name, scratch_);
    return true;
  }

  StreamProgress progress() const override {
    return {static_cast<std::int64_t>(i_), static_cast<std::int64_t>(entries_.size())};
  }

 private:
  MappedFile lst_;
  fs::path root_;
  std::vector<LstEntry> entries_;
  std::size_t i_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::vector<LstEntry> parse_lst(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<LstEntry> entries;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    ++number;
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    const std::size_t line_begin = begin;
    begin = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::size_t first = line.find('\t');
    const std::size_t second = first == line.npos ? first : line.find('\t', first + 1);
    LstEntry entry;
    const std::size_t path = line.rfind('\t') + 1;
    if (second == line.npos || path == line.size() ||
        line.size() > std::numeric_limits<std::uint32_t>::max() ||
        !take_label(line.substr(first + 1, second - first - 1), entry.identity)) {
      throw DataError(name, "line " + std::to_string(number),
                      "found " + shown(line) +
                          ", want \"index\\tlabel\\tpath\", the label a whole number below " +
                          std::to_string(kMostIdentities));
    }
    entry.path_begin = line_begin + path;
    entry.path_size = static_cast<std::uint32_t>(line.size() - path);
    entries.push_back(entry);
  }
  if (entries.empty()) throw DataError(name, "whole file", "no lines, want one an image");
  std::ranges::stable_sort(entries, {}, &LstEntry::identity);
  return entries;
}

std::unique_ptr<FaceSource> open_lst_faces(const fs::path& lst, const fs::path& root) {
  return std::make_unique<LstSource>(lst, root.empty() ? lst.parent_path() : root);
}

}  // namespace pfc
