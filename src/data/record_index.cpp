#include "data/record_index.h"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <numeric>
#include <utility>

#include "data/pages_read.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::int32_t kHoldsRange = -1;  // in place of an identity

std::string key_place(std::integral auto key) {
  return "key " + std::to_string(key);
}

std::string text(float value) {
  return value == std::trunc(value) && std::abs(value) < 1e9f
             ? std::to_string(static_cast<std::int64_t>(value))
             : std::to_string(value);
}

/// Whether `id2` gives the labels above 2^24; unknown until key 0 was found.
enum class Labels { kFloat, kExact, kUnknown };

std::int32_t identity_in(const ImageRecord& record, const RecordReader& rec, std::uint64_t offset,
                         Labels labels) {
  if (record.holds_range()) return kHoldsRange;
  constexpr auto kLargest = static_cast<float>(kLargestLabel);
  constexpr auto kMost = std::numeric_limits<std::int32_t>::max();
  const float label = record.label(0);
  const bool whole = label >= 0 && label == std::trunc(label);
  if (labels == Labels::kUnknown && whole && label <= static_cast<float>(kMost - 127))
    return static_cast<std::int32_t>(label);
  if (labels == Labels::kExact && label >= kLargest && record.id2 != 0) {
    if (record.id2 > kMost || static_cast<float>(record.id2) != label) {
      throw DataError(rec.name(), "offset " + std::to_string(offset),
                      "label " + text(label) + " and identity " + std::to_string(record.id2) +
                          ", want a label that is the identity, rounded");
    }
    return static_cast<std::int32_t>(record.id2);
  }
  if (!whole || label > kLargest) {
    throw DataError(rec.name(), "offset " + std::to_string(offset),
                    "label " + text(label) + ", want a whole number from 0 to " +
                        std::to_string(kLargestLabel));
  }
  return static_cast<std::int32_t>(label);
}

bool says_exact(const ImageRecord& record) {
  return record.holds_range() && record.id2 == kExactLabels;
}

/// Sorts the records of a list by one of its arrays, ascending, in place.
template <class T>
void sort_by(RecordList& list, std::vector<T> RecordList::*by) {
  const std::vector<T>& values = list.*by;
  if (std::ranges::is_sorted(values)) return;
  if (list.size() > std::numeric_limits<std::uint32_t>::max())
    throw Error("more records than there are keys: " + std::to_string(list.size()));
  std::vector<std::uint32_t> from(list.size());  // where the record of each place comes from
  std::iota(from.begin(), from.end(), 0u);
  std::ranges::sort(from, {}, [&](std::uint32_t i) { return values[i]; });
  const auto swap = [&](std::size_t i, std::size_t j) {
    std::swap(list.offsets[i], list.offsets[j]);
    std::swap(list.keys[i], list.keys[j]);
    if (!list.identities.empty()) std::swap(list.identities[i], list.identities[j]);
  };
  for (std::uint32_t i = 0; i < from.size(); ++i) {
    std::uint32_t place = i;  // along a cycle of places, each takes its record from the next
    while (from[place] != i) {
      const std::uint32_t next = std::exchange(from[place], place);
      swap(place, next);
      place = next;
    }
    from[place] = place;
  }
}

/// What key 0 and the identity records say about the images at places 1…images of the list.
class FaceLayout {
 public:
  /// `list` is in ascending order of keys, key 0 first. `list_name` is the file that gave the keys.
  FaceLayout(const RecordReader& rec, const RecordList& list, const std::string& list_name)
      : rec_(rec), list_(list) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list.keys[i] != i)
        throw DataError(list_name, key_place(i), "missing, want every key from 0 on");
    }
    const auto begin = list.identities.begin(), end = list.identities.end();
    const auto first_identity = std::find(begin + 1, end, kHoldsRange);
    const auto stray =
        std::find_if(first_identity, end, [](std::int32_t held) { return held != kHoldsRange; });
    if (stray != end) {
      throw DataError(rec.name(), key_place(stray - begin),
                      "an image, want an identity record, as key " +
                          std::to_string(first_identity - begin) + " is one");
    }
    images_ = static_cast<std::size_t>(first_identity - begin) - 1;
  }

  std::size_t images() const { return images_; }
  std::size_t identities() const { return list_.size() - 1 - images_; }

  void check() {
    check_header();
    if (identities() == 0) return require_float_labels();
    for (std::size_t key = 1; key <= images_; ++key) {
      if (static_cast<std::size_t>(list_.identities[key]) >= identities()) {
        throw DataError(rec_.name(), key_place(key),
                        "identity " + std::to_string(list_.identities[key]) + " in a file of " +
                            counted(identities(), "identity"));
      }
    }
    for (std::size_t key = 1 + images_; key < list_.size(); ++key) check_range(key);
  }

 private:
  void check_header() {
    const ImageRecord header = rec_.image_record_at(list_.offsets[0], scratch_);
    const std::size_t end = images_ + 1;
    const bool first_agrees = header.label(0) == static_cast<float>(end);
    const bool last_agrees =
        identities() == 0 || header.label(1) == static_cast<float>(list_.size());
    if (!first_agrees || !last_agrees) {
      throw DataError(rec_.name(), key_place(0),
                      "identity records at keys [" + text(header.label(0)) + ", " +
                          text(header.label(1)) + ") are told, found [" + std::to_string(end) +
                          ", " + std::to_string(list_.size()) + ")");
    }
  }

  /// Without identity records nothing else bounds the labels.
  void require_float_labels() const {
    for (std::size_t key = 1; key <= images_; ++key) {
      if (list_.identities[key] <= kLargestLabel) continue;
      throw DataError(rec_.name(), key_place(key),
                      "identity " + std::to_string(list_.identities[key]) +
                          " in a file without identity records, want " +
                          std::to_string(kLargestLabel) + " at the most");
    }
  }

  void check_range(std::size_t key) {
    const ImageRecord record = rec_.image_record_at(list_.offsets[key], scratch_);
    pages_.read(list_.offsets[key], record.end);
    const float first = record.label(0), last = record.label(1);
    const bool possible = first >= 1 && first <= last && last <= static_cast<float>(images_ + 1) &&
                          first == std::trunc(first) && last == std::trunc(last);
    const std::string range = "[" + text(first) + ", " + text(last) + ")";
    if (!possible) {
      throw DataError(rec_.name(), key_place(key),
                      "range of images " + range + ", want one within [1, " +
                          std::to_string(images_ + 1) + ")");
    }
    if (last >= static_cast<float>(kLargestLabel)) return;
    const auto images =
        std::span(list_.identities)
            .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
    // No image may be in two ranges. This also bounds the work on a file that breaks the rule.
    ranged_ += images.size();
    if (ranged_ > images_) {
      throw DataError(rec_.name(), key_place(key),
                      "range of images " + range + " overlaps an earlier one");
    }
    const auto other = std::ranges::adjacent_find(images, std::ranges::not_equal_to());
    if (other == images.end()) return;
    throw DataError(
        rec_.name(), key_place(static_cast<std::ptrdiff_t>(first) + 1 + (other - images.begin())),
        "identity " + std::to_string(other[1]) + ", want " + std::to_string(images.front()) +
            " as in the range " + range + " of key " + std::to_string(key));
  }

  const RecordReader& rec_;
  const RecordList& list_;
  PagesRead<RecordReader> pages_{rec_};
  std::size_t images_ = 0;
  std::size_t ranged_ = 0;
  std::vector<std::byte> scratch_;
};

/// `list` is in ascending order of different keys.
RecordIndex find_layout(const RecordReader& rec, RecordList list, const std::string& list_name) {
  RecordIndex index;
  std::size_t begin = 0, end = list.size();
  if (end > 0 && list.keys[0] == 0 && list.identities[0] == kHoldsRange) {
    FaceLayout layout(rec, list, list_name);
    layout.check();
    index.declared_identities = static_cast<std::int64_t>(layout.identities());
    begin = 1;
    end = 1 + layout.images();
  }
  if (begin == end) throw DataError(rec.name(), "whole file", "no images");
  const auto images = [&](auto& of_all) {
    of_all.resize(end);
    of_all.erase(of_all.begin(), of_all.begin() + static_cast<std::ptrdiff_t>(begin));
    return std::move(of_all);
  };
  index.offsets = images(list.offsets);
  index.identities = images(list.identities);
  index.keys = images(list.keys);
  const auto range = std::ranges::find(index.identities, kHoldsRange);
  if (range != index.identities.end()) {
    throw DataError(
        rec.name(),
        key_place(index.keys[static_cast<std::size_t>(range - index.identities.begin())]),
        "an identity record, in a file whose key 0 is no header record");
  }
  index.first_key = index.keys.front();
  if (index.keys.back() - index.first_key == index.size() - 1)
    std::vector<std::uint32_t>().swap(index.keys);
  return index;
}

}  // namespace

void RecordList::sort_by_offset() {
  sort_by(*this, &RecordList::offsets);
}

void RecordList::sort_by_key() {
  sort_by(*this, &RecordList::keys);
}

std::optional<std::size_t> RecordIndex::find(std::uint32_t wanted) const {
  if (keys.empty()) {
    if (wanted < first_key || wanted - first_key >= size()) return std::nullopt;
    return wanted - first_key;
  }
  const auto found = std::lower_bound(keys.begin(), keys.end(), wanted);
  if (found == keys.end() || *found != wanted) return std::nullopt;
  return static_cast<std::size_t>(found - keys.begin());
}

RecordIndex index_records(const RecordReader& rec, RecordList list, const std::string& idx_name) {
  std::vector<std::byte> scratch;
  const auto header = std::ranges::find(list.keys, 0u);
  const auto header_offset =
      header == list.keys.end()
          ? rec.size()
          : list.offsets[static_cast<std::size_t>(header - list.keys.begin())];
  const bool exact =
      header_offset < rec.size() && says_exact(rec.image_record_at(header_offset, scratch));
  list.sort_by_offset();
  list.identities.reserve(list.size());
  PagesRead pages(rec);
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::uint64_t offset = list.offsets[i];
    if (offset < end) {
      throw DataError(idx_name, key_place(list.keys[i]),
                      "offset " + std::to_string(offset) + " lies within a record that ends at " +
                          std::to_string(end));
    }
    try {
      const ImageRecord record = rec.image_record_at(offset, scratch);
      list.identities.push_back(
          identity_in(record, rec, offset, exact ? Labels::kExact : Labels::kFloat));
      end = record.end;
      pages.read(offset, end);
    } catch (const DataError& error) {
      throw DataError(idx_name, key_place(list.keys[i]), error.what());
    }
  }
  list.sort_by_key();
  const auto twice = std::ranges::adjacent_find(list.keys);
  if (twice != list.keys.end()) {
    const auto i = static_cast<std::size_t>(twice - list.keys.begin());
    const auto [first, second] = std::minmax(list.offsets[i], list.offsets[i + 1]);
    throw DataError(
        idx_name, key_place(*twice),
        "listed twice, at offsets " + std::to_string(first) + " and " + std::to_string(second));
  }
  return find_layout(rec, std::move(list), idx_name);
}

RecordIndex index_records(const RecordReader& rec) {
  RecordList list;
  std::vector<std::byte> scratch;
  bool ids_are_keys = true, exact = false;
  PagesRead pages(rec);
  for (std::uint64_t offset = 0; offset < rec.size();) {
    const ImageRecord record = rec.image_record_at(offset, scratch);
    ids_are_keys = ids_are_keys && record.id <= std::numeric_limits<std::uint32_t>::max();
    exact = exact || (record.id == 0 && says_exact(record));
    list.add(static_cast<std::uint32_t>(record.id), offset);
    list.identities.push_back(identity_in(record, rec, offset, Labels::kUnknown));
    pages.read(offset, record.end);
    offset = record.end;
  }
  for (std::size_t i = 0; i < list.size();
       ++i) {  // the rounded labels, now that their rule is known
    if (list.identities[i] < kLargestLabel) continue;
    const std::uint64_t offset = list.offsets[i];
    list.identities[i] = identity_in(rec.image_record_at(offset, scratch), rec, offset,
                                     exact ? Labels::kExact : Labels::kFloat);
  }
  if (ids_are_keys) {
    list.sort_by_key();
    ids_are_keys = std::ranges::adjacent_find(list.keys) == list.keys.end();
  }
  if (!ids_are_keys) {
    list.sort_by_offset();
    std::iota(list.keys.begin(), list.keys.end(), 0u);
  }
  return find_layout(rec, std::move(list), rec.name());
}

void check_property(const RecordIndex& index, std::int64_t identities,
                    const std::string& property_name) {
  const std::string told = counted(identities, "identity") + ", but ";
  if (index.declared_identities != 0 && index.declared_identities != identities) {
    throw DataError(property_name, "line 1",
                    told + "the .rec has " + counted(index.declared_identities, "identity record"));
  }
  const std::int32_t largest = *std::max_element(index.identities.begin(), index.identities.end());
  if (largest >= identities) {
    throw DataError(property_name, "line 1",
                    told + "the .rec has an image of identity " + std::to_string(largest));
  }
}

}  // namespace pfc
