#include "data/stream/lst_source.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "data/image_file.h"
#include "data/missing_files.h"
#include "data/stream/sources.h"
#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

std::optional<double> number_in(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// im2rec writes labels as floats: "7.000000".
std::optional<std::int32_t> label_in(std::string_view text) {
  const auto label = number_in(text);
  if (!label || !(*label >= 0 && *label < static_cast<double>(kMostIdentities)) ||
      *label != std::trunc(*label)) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(*label);
}

enum class Columns : std::uint8_t { kIndexLabelPath, kFlagPathLabel, kPathLabel };

struct Form {
  char separator;
  Columns columns;
};

struct ListedImage {
  std::string_view path;
  std::int32_t identity = 0;
  bool is_aligned = true;
};

/// From the begin of one to the end of the other: a path may contain spaces.
std::string_view joined(std::string_view first, std::string_view last) {
  return {first.data(), static_cast<std::size_t>(last.data() + last.size() - first.data())};
}

/// The fields of a line, if it has this form.
std::optional<ListedImage> image_in(std::string_view line, Form form) {
  const std::vector<std::string_view> fields = split(line, form.separator);
  const std::size_t count = fields.size();
  const bool by_spaces = form.separator == ' ';
  ListedImage image;
  std::optional<std::int32_t> label;
  switch (form.columns) {
    case Columns::kIndexLabelPath:
      if (count < 3 || !number_in(fields[0])) return std::nullopt;
      label = label_in(fields[1]);
      image.path = by_spaces ? joined(fields[2], fields.back()) : fields.back();
      break;
    case Columns::kFlagPathLabel:
      if (count < 3 || (fields[0] != "0" && fields[0] != "1")) return std::nullopt;
      label = label_in(by_spaces ? fields.back() : fields[2]);
      image.path = by_spaces ? joined(fields[1], fields[count - 2]) : fields[1];
      image.is_aligned = fields[0] == "1";
      break;
    case Columns::kPathLabel:
      if (count < 2 || (count > 2 && !by_spaces)) return std::nullopt;
      label = label_in(fields.back());
      image.path = joined(fields[0], fields[count - 2]);
      break;
  }
  if (!label) return std::nullopt;
  image.identity = *label;
  return image;
}

std::optional<Form> form_of(std::string_view line) {
  for (const char separator : {'\t', ',', ' '}) {
    for (const auto columns :
         {Columns::kIndexLabelPath, Columns::kFlagPathLabel, Columns::kPathLabel}) {
      if (image_in(line, {separator, columns})) return Form{separator, columns};
    }
  }
  return std::nullopt;
}

class LstSource final : public FaceSource {
 public:
  LstSource(const fs::path& lst, const fs::path& root)
      : lst_(lst), root_(root), list_(parse_lst(lst_.bytes(), lst.string())) {
    MissingFiles missing;
    for (const LstEntry& entry : list_.entries)
      if (!is_image_there(root_ / path_of(entry)))
        missing.add((root_ / path_of(entry)).string(), entry.line);
    missing.check(lst.string(), std::ssize(list_.entries), root.string());
  }

  bool next(Face& face) override {
    if (i_ == list_.entries.size()) return false;
    const LstEntry& entry = list_.entries[i_++];
    face.name = path_of(entry);
    face.identity = entry.identity;
    face.image = read_image_file(root_ / face.name, scratch_);
    return true;
  }

  StreamProgress progress() const override {
    return {static_cast<std::int64_t>(i_), std::ssize(list_.entries)};
  }
  std::string passed_over() const override {
    return list_.header.empty() ? "" : "the header \"" + list_.header + "\"";
  }

 private:
  std::string path_of(const LstEntry& entry) const {
    const auto* text = reinterpret_cast<const char*>(lst_.bytes().data());
    return {text + entry.path_begin, entry.path_size};
  }

  MappedFile lst_;
  fs::path root_;
  Lst list_;
  std::size_t i_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

Lst parse_lst(std::span<const std::byte> bytes, const std::string& name) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const std::string want =
      "\"index label path\", \"1 path label\" or \"path label\", the label a "
      "whole number below " +
      std::to_string(kMostIdentities);
  Lst list;
  Lines lines(bytes, name);
  if (!lines.next()) throw DataError(name, "whole file", "no lines, want one an image");
  std::optional<Form> form = form_of(lines.line());
  if (!form) {
    const Lines first = lines;
    if (!lines.next() || !(form = form_of(lines.line()))) first.fail(want);
    list.header = printable(first.line());
    if (split(first.line(), form->separator).size() != split(lines.line(), form->separator).size())
      first.fail(want);
  }
  do {
    const auto image = image_in(lines.line(), *form);
    if (!image || lines.line().size() > std::numeric_limits<std::uint32_t>::max()) lines.fail(want);
    if (!image->is_aligned) {
      lines.fail("1 before the path, an aligned face; `pfc data align` makes faces of photos");
    }
    list.entries.push_back({.path_begin = static_cast<std::uint64_t>(image->path.data() - text),
                            .path_size = static_cast<std::uint32_t>(image->path.size()),
                            .identity = image->identity,
                            .line = lines.number()});
  } while (lines.next());
  std::ranges::stable_sort(list.entries, {}, &LstEntry::identity);
  return list;
}

std::unique_ptr<FaceSource> open_lst_faces(const fs::path& lst, const fs::path& root) {
  return std::make_unique<LstSource>(lst, root.empty() ? lst.parent_path() : root);
}

}  // namespace pfc
