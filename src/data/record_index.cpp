#include "data/record_index.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/pages_read.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

constexpr std::int32_t kHoldsRange = -1;  // in place of an identity

std::string key_place(std::uint32_t key) {
  return "key " + std::to_string(key);
}

std::string text(float value) {
  return value == std::trunc(value) && std::abs(value) < 1e9f
             ? std::to_string(static_cast<std::int64_t>(value))
             : std::to_string(value);
}

/// Whether labels above 2^24 are told by `id2`; not known before key 0 was found.
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

/// What key 0 and the identity records say of the images, `entries[1…images]`.
class FaceLayout {
 public:
  /// `entries` in ascending order of keys, key 0 first. `list` names the file that told the keys.
  FaceLayout(const RecordReader& rec, std::span<const IndexEntry> entries, const std::string& list)
      : rec_(rec), entries_(entries) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].key != i) {
        throw DataError(list, key_place(static_cast<std::uint32_t>(i)),
                        "missing, want every key from 0 on");
      }
    }
    const auto is_image = [](const IndexEntry& entry) { return entry.identity != kHoldsRange; };
    const auto first_identity = std::find_if_not(entries.begin() + 1, entries.end(), is_image);
    const auto stray = std::find_if(first_identity, entries.end(), is_image);
    if (stray != entries.end()) {
      throw DataError(rec.name(), key_place(stray->key),
                      "an image, want an identity record, as key " +
                          std::to_string(first_identity->key) + " is one");
    }
    images_ = static_cast<std::size_t>(first_identity - entries.begin()) - 1;
  }

  std::size_t images() const { return images_; }
  std::size_t identities() const { return entries_.size() - 1 - images_; }

  void check() {
    check_header();
    if (identities() == 0) return require_float_labels();
    for (const IndexEntry& entry : entries_.subspan(1, images_)) {
      if (static_cast<std::size_t>(entry.identity) >= identities()) {
        throw DataError(rec_.name(), key_place(entry.key),
                        "identity " + std::to_string(entry.identity) + " in a file of " +
                            std::to_string(identities()) + " identities");
      }
    }
    for (const IndexEntry& entry : entries_.subspan(1 + images_)) check_range(entry);
  }

 private:
  void check_header() {
    const ImageRecord header = rec_.image_record_at(entries_[0].offset, scratch_);
    const std::size_t end = images_ + 1;
    const bool first_agrees = header.label(0) == static_cast<float>(end);
    const bool last_agrees =
        identities() == 0 || header.label(1) == static_cast<float>(entries_.size());
    if (!first_agrees || !last_agrees) {
      throw DataError(rec_.name(), key_place(0),
                      "identity records at keys [" + text(header.label(0)) + ", " +
                          text(header.label(1)) + ") are told, found [" + std::to_string(end) +
                          ", " + std::to_string(entries_.size()) + ")");
    }
  }

  /// Without identity records nothing else bounds the labels.
  void require_float_labels() const {
    for (const IndexEntry& entry : entries_.subspan(1, images_)) {
      if (entry.identity <= kLargestLabel) continue;
      throw DataError(rec_.name(), key_place(entry.key),
                      "identity " + std::to_string(entry.identity) +
                          " in a file without identity records, want " +
                          std::to_string(kLargestLabel) + " at the most");
    }
  }

  void check_range(const IndexEntry& entry) {
    const ImageRecord record = rec_.image_record_at(entry.offset, scratch_);
    const float first = record.label(0), last = record.label(1);
    const bool possible = first >= 1 && first <= last && last <= static_cast<float>(images_ + 1) &&
                          first == std::trunc(first) && last == std::trunc(last);
    const std::string range = "[" + text(first) + ", " + text(last) + ")";
    if (!possible) {
      throw DataError(rec_.name(), key_place(entry.key),
                      "range of images " + range + ", want one within [1, " +
                          std::to_string(images_ + 1) + ")");
    }
    if (last >= static_cast<float>(kLargestLabel)) return;
    const auto images =
        entries_.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
    // No image is in two ranges: this bounds the work on a file that says otherwise, too.
    ranged_ += images.size();
    if (ranged_ > images_) {
      throw DataError(rec_.name(), key_place(entry.key),
                      "range of images " + range + " overlaps an earlier one");
    }
    for (const IndexEntry& image : images) {
      if (image.identity != images.front().identity) {
        throw DataError(rec_.name(), key_place(image.key),
                        "identity " + std::to_string(image.identity) + ", want " +
                            std::to_string(images.front().identity) + " as in the range " + range +
                            " of key " + std::to_string(entry.key));
      }
    }
  }

  const RecordReader& rec_;
  std::span<const IndexEntry> entries_;
  std::size_t images_ = 0;
  std::size_t ranged_ = 0;
  std::vector<std::byte> scratch_;
};

/// `entries` in ascending order of different keys.
RecordIndex find_layout(const RecordReader& rec, std::span<const IndexEntry> entries,
                        const std::string& list) {
  RecordIndex index;
  if (!entries.empty() && entries[0].key == 0 && entries[0].identity == kHoldsRange) {
    FaceLayout layout(rec, entries, list);
    layout.check();
    index.declared_identities = static_cast<std::int64_t>(layout.identities());
    entries = entries.subspan(1, layout.images());
  }
  if (entries.empty()) throw DataError(rec.name(), "whole file", "no images");
  index.offsets.reserve(entries.size());
  index.identities.reserve(entries.size());
  for (const IndexEntry& entry : entries) {
    if (entry.identity == kHoldsRange) {
      throw DataError(rec.name(), key_place(entry.key),
                      "an identity record, in a file whose key 0 is no header record");
    }
    index.offsets.push_back(entry.offset);
    index.identities.push_back(entry.identity);
  }
  index.first_key = entries.front().key;
  if (entries.back().key - index.first_key != entries.size() - 1) {
    index.keys.reserve(entries.size());
    for (const IndexEntry& entry : entries) index.keys.push_back(entry.key);
  }
  return index;
}

}  // namespace

std::optional<std::size_t> RecordIndex::find(std::uint32_t wanted) const {
  if (keys.empty()) {
    if (wanted < first_key || wanted - first_key >= size()) return std::nullopt;
    return wanted - first_key;
  }
  const auto found = std::lower_bound(keys.begin(), keys.end(), wanted);
  if (found == keys.end() || *found != wanted) return std::nullopt;
  return static_cast<std::size_t>(found - keys.begin());
}

RecordIndex index_records(const RecordReader& rec, std::vector<IndexEntry> listed,
                          const std::string& idx_name) {
  std::vector<std::byte> scratch;
  const auto header = std::ranges::find(listed, 0u, &IndexEntry::key);
  const bool exact = header != listed.end() && header->offset < rec.size() &&
                     says_exact(rec.image_record_at(header->offset, scratch));
  std::ranges::sort(listed, {}, &IndexEntry::offset);
  PagesRead pages(rec);
  std::uint64_t end = 0;
  for (IndexEntry& entry : listed) {
    if (entry.offset < end) {
      throw DataError(idx_name, key_place(entry.key),
                      "offset " + std::to_string(entry.offset) +
                          " lies within a record that ends at " + std::to_string(end));
    }
    try {
      const ImageRecord record = rec.image_record_at(entry.offset, scratch);
      entry.identity =
          identity_in(record, rec, entry.offset, exact ? Labels::kExact : Labels::kFloat);
      end = record.end;
      pages.read(end - entry.offset);
    } catch (const DataError& error) {
      throw DataError(idx_name, key_place(entry.key), error.what());
    }
  }
  std::ranges::sort(listed, {}, &IndexEntry::key);
  const auto twice = std::ranges::adjacent_find(listed, {}, &IndexEntry::key);
  if (twice != listed.end()) {
    throw DataError(idx_name, key_place(twice->key),
                    "listed twice, at offsets " + std::to_string(twice[0].offset) + " and " +
                        std::to_string(twice[1].offset));
  }
  return find_layout(rec, listed, idx_name);
}

RecordIndex index_records(const RecordReader& rec) {
  std::vector<IndexEntry> entries;
  std::vector<std::byte> scratch;
  bool ids_are_keys = true, exact = false;
  PagesRead pages(rec);
  for (std::uint64_t offset = 0; offset < rec.size();) {
    const ImageRecord record = rec.image_record_at(offset, scratch);
    ids_are_keys = ids_are_keys && record.id <= std::numeric_limits<std::uint32_t>::max();
    exact = exact || (record.id == 0 && says_exact(record));
    entries.push_back({offset, static_cast<std::uint32_t>(record.id),
                       identity_in(record, rec, offset, Labels::kUnknown)});
    pages.read(record.end - offset);
    offset = record.end;
  }
  for (IndexEntry& entry : entries) {  // those that were rounded, now that it is known
    if (entry.identity < kLargestLabel) continue;
    entry.identity = identity_in(rec.image_record_at(entry.offset, scratch), rec, entry.offset,
                                 exact ? Labels::kExact : Labels::kFloat);
  }
  if (ids_are_keys) {
    std::ranges::sort(entries, {}, &IndexEntry::key);
    ids_are_keys = std::ranges::adjacent_find(entries, {}, &IndexEntry::key) == entries.end();
  }
  if (!ids_are_keys) {
    std::ranges::sort(entries, {}, &IndexEntry::offset);
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i].key = static_cast<std::uint32_t>(i);
  }
  return find_layout(rec, entries, rec.name());
}

void check_property(const RecordIndex& index, std::int64_t identities,
                    const std::string& property_name) {
  const std::string told = std::to_string(identities) + " identities, but ";
  if (index.declared_identities != 0 && index.declared_identities != identities) {
    throw DataError(
        property_name, "line 1",
        told + "the .rec has " + std::to_string(index.declared_identities) + " identity records");
  }
  const std::int32_t largest = *std::max_element(index.identities.begin(), index.identities.end());
  if (largest >= identities) {
    throw DataError(property_name, "line 1",
                    told + "the .rec has an image of identity " + std::to_string(largest));
  }
}

}  // namespace pfc
