#include "pfc/eval/megaface_files.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/little_endian.h"
#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// The path's last components; nothing if it has fewer.
std::string_view end_of(std::string_view path, int parts) {
  std::size_t begin = path.size();
  for (int i = 0; i < parts; ++i) {
    if (begin == 0) return {};
    begin = path.rfind('/', begin - 1);
    if (begin == path.npos) return i + 1 == parts ? path : std::string_view();
  }
  return path.substr(begin + 1);
}

constexpr std::string_view wanted(int parts) {
  return parts == 1 ? "an image's file name" : parts == 2 ? "\"PERSON/IMAGE\"" : "\"A/B/IMAGE\"";
}

std::vector<std::string> parse_json_list(std::string_view text, const std::string& name,
                                         int parts) {
  std::vector<std::string> names;
  try {
    const auto json = nlohmann::json::parse(text);
    for (const auto& path : json.at("path")) {
      const auto end = std::string(end_of(path.get_ref<const std::string&>(), parts));
      if (end.empty()) {
        throw DataError(name, "path " + std::to_string(names.size()),
                        "want " + std::string(wanted(parts)));
      }
      names.push_back(end);
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(name, "JSON", error.what());
  }
  return names;
}

class MegafaceFeatures final : public Features {
 public:
  MegafaceFeatures(fs::path folder, std::string algo, std::vector<std::string> names)
      : folder_(std::move(folder)), algo_(std::move(algo)), names_(std::move(names)) {
    values_ = std::ssize(read(0));
    marked_ = values_ % 64 == 1 && values_ > 1;
  }

  std::int64_t count() const override { return std::ssize(names_); }
  std::int64_t dim() const override { return marked_ ? values_ - 1 : values_; }
  void read_row(std::int64_t i, std::span<float> values) const override {
    std::vector<float> row = read(i);
    if (std::ssize(row) != values_) {
      throw DataError(path(i).string(), "header",
                      counted(row.size(), "value") + ", want " + grouped(values_) + " as in " +
                          path(0).string());
    }
    if (marked_ && row.back() != 0) std::ranges::fill(row, 0.0f);
    std::copy_n(row.begin(), values.size(), values.begin());
  }
  std::string name(std::int64_t i) const override { return names_[static_cast<std::size_t>(i)]; }
  std::string place(std::int64_t i) const override { return path(i).string(); }

 private:
  fs::path path(std::int64_t i) const { return folder_ / (name(i) + "_" + algo_ + ".bin"); }
  std::vector<float> read(std::int64_t i) const {
    const std::string bytes = read_file(path(i));
    return parse_megaface_feature(std::as_bytes(std::span(bytes)), path(i).string());
  }

  fs::path folder_;
  std::string algo_;
  std::vector<std::string> names_;
  std::int64_t values_ = 0;
  bool marked_ = false;
};

}  // namespace

MegafaceFolder megaface_folder(const fs::path& folder) {
  const auto found = [&](const char* name) {
    return is_there(folder / name) ? folder / name : fs::path();
  };
  return {.probe_images = folder / "facescrub_images",
          .distractor_images = folder / "megaface_images",
          .probe_list = found("facescrub_lst"),
          .distractor_list = found("megaface_lst"),
          .probe_noises = found("facescrub_noises.txt"),
          .distractor_noises = found("megaface_noises.txt")};
}

void require_images(const MegafaceFolder& folder) {
  for (const fs::path& images : {folder.probe_images, folder.distractor_images}) {
    if (!is_folder(images))
      throw Error(images.string() + ": not found; this should be the folder of the images");
  }
}

std::vector<std::string> parse_megaface_list(std::span<const std::byte> text,
                                             const std::string& name, int parts,
                                             bool may_be_empty) {
  const std::string_view all = list_text(text, name);
  const std::size_t first = all.find_first_not_of(" \t\r\n");
  std::vector<std::string> names;
  if (first != all.npos && all[first] == '{') {
    names = parse_json_list(all, name, parts);
  } else {
    TextLines lines(text, name, '\t');  // names may contain spaces
    while (lines.next()) {
      const std::string_view path = lines.fields()[lines.fields().size() > 1 ? 1 : 0];
      if (path.starts_with('#')) continue;
      const std::string_view end = end_of(path, parts);
      if (end.empty()) lines.fail(std::string(wanted(parts)));
      names.emplace_back(end);
    }
  }
  if (names.empty() && !may_be_empty) throw DataError(name, "whole file", "no images");
  return names;
}

std::vector<std::string> read_megaface_list(const fs::path& path, int parts) {
  const MappedFile file(path);
  return parse_megaface_list(file.bytes(), path.string(), parts);
}

std::unordered_set<std::string> read_megaface_noises(const fs::path& path, int parts) {
  const std::string text = read_file(path);
  auto names = parse_megaface_list(std::as_bytes(std::span(text)), path.string(), parts, true);
  return {std::make_move_iterator(names.begin()), std::make_move_iterator(names.end())};
}

std::vector<float> parse_megaface_feature(std::span<const std::byte> bytes,
                                          const std::string& name) {
  constexpr std::size_t kHeader = 16;
  const auto field = [&](std::size_t i) { return load<std::int32_t>(bytes, 4 * i); };
  if (bytes.size() < kHeader || field(0) < 1 || field(1) != 1 || field(2) != 4 || field(3) != 5) {
    throw DataError(name, "offset 0",
                    "no feature file, want int32 N, 1, 4, 5 and then N float32 values");
  }
  const auto count = static_cast<std::size_t>(field(0));
  if (bytes.size() - kHeader != 4 * count) {
    throw DataError(name, "offset 0",
                    "says " + counted(count, "value") + ", " +
                        counted(bytes.size() - kHeader, "byte") + " follow");
  }
  std::vector<float> values(count);
  std::memcpy(values.data(), bytes.data() + kHeader, 4 * count);
  return values;
}

void write_megaface_feature(const fs::path& path, std::span<const float> values) {
  const std::array<std::int32_t, 4> header = {static_cast<std::int32_t>(values.size()), 1, 4, 5};
  std::string bytes(reinterpret_cast<const char*>(header.data()), sizeof header);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  fs::create_directories(path.parent_path());
  // There are a million of them, so they are not synced one by one as AtomicFile would.
  write_in_place(path, std::as_bytes(std::span(bytes)));
}

std::unique_ptr<Features> open_megaface_features(const fs::path& folder, const std::string& algo,
                                                 std::vector<std::string> names) {
  return std::make_unique<MegafaceFeatures>(folder, algo, std::move(names));
}

}  // namespace pfc
