#include "pfc/data/face_selection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <string_view>
#include <utility>

#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/list_name.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

class Relabelled final : public FaceSource {
 public:
  Relabelled(FaceSource& source, Relabel relabel) : source_(source), relabel_(std::move(relabel)) {}

  bool next(Face& face) override {
    while (source_.next(face)) {
      face.identity = relabel_(face);
      if (face.identity >= 0) return true;
      ++dropped_;
    }
    return false;
  }
  StreamProgress progress() const override { return source_.progress(); }
  std::string passed_over() const override {
    if (dropped_ == 0) return "";
    return counted(dropped_, "image") + (dropped_ == 1 ? " that has" : " that have") +
           " no place in the new set";
  }

 private:
  FaceSource& source_;
  Relabel relabel_;
  std::int64_t dropped_ = 0;
};

/// The next line that is not a comment.
bool next_entry(Lines& lines) {
  while (lines.next())
    if (!lines.line().starts_with('#')) return true;
  return false;
}

std::string_view first_field(std::string_view line) {
  return line.substr(0, line.find_first_of("\t,"));
}

/// Takes an identity or the number of a set off the front of `line`.
bool take_number(std::string_view& line, std::int64_t& value) {
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (error != std::errc{} || value < 0 || value >= kMostIdentities) return false;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  return true;
}

bool take_comma(std::string_view& line) {
  if (!line.starts_with(',')) return false;
  line.remove_prefix(1);
  return true;
}

/// Sets of identities that are the same; the smallest number stands for each set.
class SameSets {
 public:
  explicit SameSets(std::size_t count) : parents_(count) {
    std::iota(parents_.begin(), parents_.end(), std::size_t{0});
  }
  std::size_t find(std::size_t i) {
    while (parents_[i] != i) i = parents_[i] = parents_[parents_[i]];
    return i;
  }
  void unite(std::size_t a, std::size_t b) {
    a = find(a), b = find(b);
    parents_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<std::size_t> parents_;
};

}  // namespace

std::unique_ptr<FaceSource> relabelled(FaceSource& source, Relabel relabel) {
  return std::make_unique<Relabelled>(source, std::move(relabel));
}

void ImageCounts::add(std::int64_t identity) {
  const auto i = static_cast<std::size_t>(identity);
  if (i >= counts_.size()) counts_.resize(i + 1);
  ++counts_[i];
}

void ImageNames::add(std::string_view line) {
  const std::size_t tab = line.find('\t');
  std::vector<std::string_view> spellings = {line.substr(0, tab)};
  if (tab == line.npos) {
    for (std::size_t comma = line.find(','); comma != line.npos; comma = line.find(',', comma + 1))
      spellings.push_back(line.substr(0, comma));
    if (line.starts_with('"')) spellings.push_back(split(line, ',').front());
  }
  std::optional<std::size_t> number;
  for (const std::string_view spelling : spellings) {
    const auto known = numbers_.find(std::string(spelling));
    if (known != numbers_.end()) number = known->second;
  }
  if (!number) number = size_++;
  for (const std::string_view spelling : spellings) numbers_.emplace(spelling, *number);
}

std::optional<std::size_t> ImageNames::find(std::string_view name) const {
  if (numbers_.empty()) return std::nullopt;
  for (const std::string& spelling : {std::string(name), list_name(name)}) {
    const auto found = numbers_.find(spelling);
    if (found != numbers_.end()) return found->second;
  }
  return std::nullopt;
}

FaceFilter::FaceFilter(FaceFilterOptions options) : options_(std::move(options)) {}

bool FaceFilter::is_dropped(const Face& face) const {
  return options_.drop_identities.contains(face.identity) ||
         options_.drop_images.find(face.name).has_value();
}

void FaceFilter::count(const Face& face) {
  if (options_.drop_identities.contains(face.identity)) identities_found_.insert(face.identity);
  if (const auto number = options_.drop_images.find(face.name)) images_found_.insert(*number);
  if (!is_dropped(face)) counts_.add(face.identity);
}

void FaceFilter::finish() {
  const auto is_left = [&](std::int64_t set, std::int64_t identity) {
    return set != 1 || (identity < std::ssize(counts_.of()) &&
                        counts_.of()[static_cast<std::size_t>(identity)] > 0);
  };
  std::erase_if(options_.same, [&](const SameIdentity& pair) {
    return !is_left(pair.set, pair.identity) || !is_left(pair.other_set, pair.other_identity);
  });
  numbers_ = join_identities({counts_}, options_.same).front();
  ImageCounts joined;
  for (std::size_t i = 0; i < numbers_.size(); ++i)
    for (std::int64_t n = 0; n < counts_.of()[i]; ++n) joined.add(numbers_[i]);

  std::vector<std::int64_t> among_kept(joined.of().size(), -1);
  for (std::size_t i = 0; i < numbers_.size(); ++i) {
    if (numbers_[i] < 0) continue;
    const auto number = static_cast<std::size_t>(numbers_[i]);
    if (among_kept[number] < 0 && joined.of()[number] >= options_.min_images) {
      among_kept[number] = std::ssize(kept_);
      kept_.push_back(static_cast<std::int64_t>(i));
    }
    numbers_[i] = among_kept[number];
  }
  if (kept_.empty()) throw Error("no identity is left");
  taken_.assign(kept_.size(), 0);
}

std::int64_t FaceFilter::relabel(const Face& face) {
  const auto i = static_cast<std::size_t>(face.identity);
  if (is_dropped(face) || i >= numbers_.size() || numbers_[i] < 0) return -1;
  std::int64_t& taken = taken_[static_cast<std::size_t>(numbers_[i])];
  if (options_.max_images > 0 && taken == options_.max_images) return -1;
  ++taken;
  return numbers_[i];
}

std::int64_t FaceFilter::not_found() const {
  return static_cast<std::int64_t>(options_.drop_images.size()) - std::ssize(images_found_) +
         std::ssize(options_.drop_identities) - std::ssize(identities_found_);
}

ImageNames parse_names(std::string_view text, const std::string& name) {
  ImageNames names;
  for (Lines lines(text, name); next_entry(lines);) names.add(lines.line());
  return names;
}

std::unordered_set<std::int64_t> parse_identities(std::string_view text, const std::string& name) {
  std::unordered_set<std::int64_t> identities;
  for (Lines lines(text, name); next_entry(lines);) {
    std::string_view field = first_field(lines.line());
    std::int64_t identity = 0;
    if (!take_number(field, identity) || !field.empty()) lines.fail("an identity's number");
    identities.insert(identity);
  }
  return identities;
}

std::vector<SameIdentity> parse_same(std::string_view text, const std::string& name) {
  std::vector<SameIdentity> result;
  for (Lines lines(text, name); next_entry(lines);) {
    std::string_view rest = lines.line();
    SameIdentity same;
    if (!take_number(rest, same.set) || !take_comma(rest) || !take_number(rest, same.identity) ||
        !take_comma(rest) || !take_number(rest, same.other_set) || !take_comma(rest) ||
        !take_number(rest, same.other_identity) || !(rest.empty() || rest.front() == ',')) {
      lines.fail("\"SET,IDENTITY,SET,IDENTITY\"");
    }
    result.push_back(same);
  }
  return result;
}

std::vector<std::vector<std::int64_t>> join_identities(const std::vector<ImageCounts>& sets,
                                                       std::span<const SameIdentity> same) {
  std::vector<std::size_t> begins = {0};
  for (const ImageCounts& set : sets) begins.push_back(begins.back() + set.of().size());
  const auto place = [&](std::int64_t set, std::int64_t identity) {
    const bool there =
        set >= 1 && set <= std::ssize(sets) &&
        identity < std::ssize(sets[static_cast<std::size_t>(set - 1)].of()) &&
        sets[static_cast<std::size_t>(set - 1)].of()[static_cast<std::size_t>(identity)] > 0;
    if (!there) {
      throw Error("identity " + std::to_string(identity) + " of set " + std::to_string(set) +
                  " has no images, and is said to be the same as another");
    }
    return begins[static_cast<std::size_t>(set - 1)] + static_cast<std::size_t>(identity);
  };
  SameSets united(begins.back());
  for (const SameIdentity& pair : same)
    united.unite(place(pair.set, pair.identity), place(pair.other_set, pair.other_identity));

  std::vector<std::int64_t> numbers(begins.back(), -1);
  std::int64_t next = 0;
  std::vector<std::vector<std::int64_t>> result;
  for (std::size_t set = 0; set < sets.size(); ++set) {
    std::vector<std::int64_t>& of_set = result.emplace_back();
    for (std::size_t i = 0; i < sets[set].of().size(); ++i) {
      if (sets[set].of()[i] == 0) {
        of_set.push_back(-1);
        continue;
      }
      std::int64_t& number = numbers[united.find(begins[set] + i)];
      if (number < 0) number = next++;
      of_set.push_back(number);
    }
  }
  return result;
}

}  // namespace pfc
