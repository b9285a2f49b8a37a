#include "pfc/eval/ijb_files.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "data/image_file.h"
#include "data/text_lines.h"
#include "data/whole_number.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

template <class T>
std::optional<T> real_number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// A set of templates that is queried millions of times.
class TemplateSet {
 public:
  explicit TemplateSet(std::span<const std::int32_t> templates) {
    for (const std::int32_t id : templates) {
      if (static_cast<std::size_t>(id) >= known_.size())
        known_.resize(static_cast<std::size_t>(id) + 1);
      known_[static_cast<std::size_t>(id)] = true;
    }
  }
  bool holds(std::int32_t id) const {
    return static_cast<std::size_t>(id) < known_.size() && known_[static_cast<std::size_t>(id)];
  }

 private:
  std::vector<bool> known_;
};

constexpr std::int32_t kLargestTemplate = 1 << 23;  // IJB's ids have up to six digits

std::optional<std::int32_t> id_in(std::string_view field) {
  const auto id = whole_number<std::int32_t>(field);
  return id && *id <= kLargestTemplate ? id : std::nullopt;
}

struct Folder {
  fs::path meta;
  std::string prefix;

  fs::path file(const std::string& ending) const { return meta / (prefix + ending); }
};

Folder find_meta(const fs::path& folder) {
  for (const char* prefix : {"ijbc", "ijbb"}) {
    Folder found{folder / "meta", prefix};
    if (is_there(found.file("_face_tid_mid.txt"))) return found;
  }
  throw Error((folder / "meta").string() +
              ": no ijbc_face_tid_mid.txt or ijbb_face_tid_mid.txt, want the folder of IJB-C or "
              "IJB-B with meta and loose_crop in it");
}

template <class Parse>
auto parsed(const fs::path& path, const Parse& parse) {
  const MappedFile file(path);
  return parse(file.bytes(), path.string());
}

void require_images(const IjbSubjects& subjects, const TemplateSet& known, const fs::path& path) {
  for (const std::int32_t id : subjects.templates) {
    if (known.holds(id)) continue;
    throw DataError(path.string(), "template " + std::to_string(id),
                    "no image belongs to it in the list of images");
  }
}

/// Checks early what the evaluation would find after hours.
void require_both_kinds(const IjbPairs& pairs, const fs::path& path) {
  const auto genuine =
      std::ranges::count_if(pairs.same, [](std::uint8_t same) { return same != 0; });
  if (genuine > 0 && genuine < std::ssize(pairs.same)) return;
  throw DataError(path.string(), "pairs",
                  "all " + grouped(std::ssize(pairs.same)) + " are of " +
                      (genuine == 0 ? "two people" : "one person") + ", want both kinds");
}

void require_a_mate(const IjbSubjects& gallery, const IjbSubjects& probes, const fs::path& path) {
  const std::unordered_set<std::int32_t> known(probes.subjects.begin(), probes.subjects.end());
  if (std::ranges::any_of(gallery.subjects, [&](std::int32_t id) { return known.contains(id); }))
    return;
  throw DataError(path.string(), "whole file", "no subject of it is that of a probe");
}

class AlignedImages final : public ImageSource {
 public:
  explicit AlignedImages(const IjbSet& set) : set_(set) {}

  std::int64_t size() const override { return set_.images.count(); }
  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    return read_image_file(set_.images_folder / name(index), scratch);
  }
  std::string name(std::int64_t index) const override {
    return set_.images.names[static_cast<std::size_t>(index)];
  }
  void face(std::int64_t index, std::vector<std::byte>& scratch,
            std::uint8_t* pixels) const override {
    const RgbImage picture = decode_image(image(index, scratch));
    const RgbImage aligned =
        align_face(picture, set_.images.landmarks[static_cast<std::size_t>(index)]);
    std::ranges::copy(aligned.pixels, pixels);
  }

 private:
  const IjbSet& set_;
};

}  // namespace

std::unique_ptr<ImageSource> aligned_images(const IjbSet& set) {
  return std::make_unique<AlignedImages>(set);
}

IjbImages parse_ijb_images(std::span<const std::byte> tid_mid, const std::string& tid_mid_name,
                           std::span<const std::byte> landmarks,
                           const std::string& landmarks_name) {
  IjbImages images;
  TextLines places(landmarks, landmarks_name), owners(tid_mid, tid_mid_name);
  while (places.next()) {
    const auto& f = places.fields();
    constexpr const char* kWantedImage = "\"NAME X1 Y1 X2 Y2 X3 Y3 X4 Y4 X5 Y5 SCORE\"";
    if (f.size() != 12) places.fail(kWantedImage);
    Landmarks& points = images.landmarks.emplace_back();
    for (std::size_t i = 0; i < points.size(); ++i) {
      const auto x = real_number<double>(f[1 + 2 * i]), y = real_number<double>(f[2 + 2 * i]);
      if (!x || !y) places.fail(kWantedImage);
      points[i] = {*x, *y};
    }
    const auto score = real_number<float>(f[11]);
    if (!score) places.fail(kWantedImage);
    images.scores.push_back(*score);
    images.names.emplace_back(f[0]);

    if (!owners.next()) {
      throw DataError(tid_mid_name, "end",
                      "found " + counted(images.templates.size(), "image") +
                          ", want one for every line of " + landmarks_name);
    }
    const auto& owner = owners.fields();
    const auto id = owner.size() == 3 ? id_in(owner[1]) : std::nullopt;
    const auto medium = owner.size() == 3 ? whole_number<std::int32_t>(owner[2]) : std::nullopt;
    if (!id || !medium) owners.fail("\"NAME TEMPLATE MEDIUM\"");
    if (owner[0] != f[0])
      owners.fail("\"" + printable(images.names.back()) + "\" as in " + landmarks_name);
    images.templates.push_back(*id);
    images.media.push_back(*medium);
  }
  if (owners.next()) {
    owners.fail("an end: " + landmarks_name + " has " + counted(images.names.size(), "image"));
  }
  if (images.names.empty()) throw DataError(landmarks_name, "whole file", "no images");
  return images;
}

IjbPairs parse_ijb_pairs(std::span<const std::byte> text, const std::string& name) {
  IjbPairs pairs;
  TextLines lines(text, name);
  while (lines.next()) {
    const auto& f = lines.fields();
    const auto first = f.size() == 3 ? id_in(f[0]) : std::nullopt;
    const auto second = f.size() == 3 ? id_in(f[1]) : std::nullopt;
    if (!first || !second || (f[2] != "0" && f[2] != "1"))
      lines.fail("\"TEMPLATE1 TEMPLATE2 SAME\", SAME 1 or 0");
    pairs.first.push_back(*first);
    pairs.second.push_back(*second);
    pairs.same.push_back(f[2] == "1");
  }
  if (pairs.same.empty()) throw DataError(name, "whole file", "no pairs");
  return pairs;
}

IjbSubjects parse_ijb_subjects(std::span<const std::byte> text, const std::string& name) {
  IjbSubjects subjects{.name = name};
  std::map<std::int32_t, std::int32_t> seen;
  TextLines lines(text, name, ',');
  lines.next();  // the columns' names
  while (lines.next()) {
    const auto& f = lines.fields();
    const auto id = f.size() >= 2 ? id_in(f[0]) : std::nullopt;
    const auto subject = f.size() >= 2 ? whole_number<std::int32_t>(f[1]) : std::nullopt;
    if (!id || !subject) lines.fail("\"TEMPLATE,SUBJECT,…\"");
    const auto [place, is_new] = seen.emplace(*id, *subject);
    if (!is_new && place->second != *subject) {
      lines.fail("subject " + std::to_string(place->second) + " as above for template " +
                 std::to_string(*id));
    }
    if (!is_new) continue;  // there is a line for each image of a template
    subjects.templates.push_back(*id);
    subjects.subjects.push_back(*subject);
  }
  if (subjects.templates.empty()) throw DataError(name, "whole file", "no templates");
  return subjects;
}

IjbSet open_ijb(const fs::path& folder) {
  const Folder meta = find_meta(folder);
  IjbSet set;
  set.name = meta.prefix == "ijbc" ? "IJB-C" : "IJB-B";
  set.images_folder = folder / "loose_crop";
  const fs::path owners = meta.file("_face_tid_mid.txt");
  const fs::path landmarks = meta.file("_name_5pts_score.txt");
  set.images_list = landmarks.string();
  {
    const MappedFile owner_lines(owners), landmark_lines(landmarks);
    set.images = parse_ijb_images(owner_lines.bytes(), owners.string(), landmark_lines.bytes(),
                                  landmarks.string());
  }
  const TemplateSet known(set.images.templates);
  const fs::path pairs = meta.file("_template_pair_label.txt");
  set.pairs = parsed(pairs, parse_ijb_pairs);
  require_both_kinds(set.pairs, pairs);
  for (std::size_t i = 0; i < set.pairs.same.size(); ++i) {
    for (const std::int32_t id : {set.pairs.first[i], set.pairs.second[i]}) {
      if (known.holds(id)) continue;
      throw DataError(pairs.string(), "pair " + std::to_string(i + 1),
                      "no image belongs to template " + std::to_string(id));
    }
  }
  const fs::path probes = meta.file("_1N_probe_mixed.csv");
  if (!is_there(probes)) return set;
  set.probes = parsed(probes, parse_ijb_subjects);
  require_images(set.probes, known, probes);
  for (const char* gallery : {"G1", "G2", "S1", "S2"}) {
    const fs::path path = meta.file(std::string("_1N_gallery_") + gallery + ".csv");
    if (!is_there(path)) continue;
    set.galleries.push_back(parsed(path, parse_ijb_subjects));
    set.galleries.back().name = gallery;
    require_images(set.galleries.back(), known, path);
    require_a_mate(set.galleries.back(), set.probes, path);
  }
  return set;
}

}  // namespace pfc
