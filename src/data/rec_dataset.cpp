#include <algorithm>
#include <charconv>
#include <numeric>
#include <string>
#include <utility>

#include "data/dataset_sources.h"
#include "data/exclusion_list.h"
#include "data/record_file.h"
#include "data/record_index.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/paths.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

template <class T>
std::vector<T> in_order(const std::vector<T>& values, const std::vector<std::uint32_t>& order) {
  std::vector<T> result;
  result.reserve(order.size());
  for (const std::uint32_t i : order) result.push_back(values[i]);
  return result;
}

/// Fills in `keys` if it is empty because the keys are consecutive.
void write_out(std::vector<std::uint32_t>& keys, std::uint32_t first, std::size_t count) {
  if (!keys.empty()) return;
  keys.resize(count);
  std::iota(keys.begin(), keys.end(), first);
}

class RecDataset final : public Dataset {
 public:
  RecDataset(const fs::path& rec, const DatasetOptions& options)
      : file_(rec),
        exclusions_(kept_beside(rec, options.cache_dir, ".pfcbad"),
                    file_.source().rec.text() + " " + file_.source().idx.text()) {
    if (options.excluded) exclusions_.replace(*options.excluded);
    excluded_ = exclusions_.keys();
    RecordIndex index = file_.index(options.cache_dir, options.write_beside_data);
    if (const fs::path property = property_path_of(rec); is_there(property)) {
      check_property(index, parse_property(read_file(property), property.string()),
                     property.string());
    }
    select(std::move(index), options.min_images);
    if (options.file_order) put_in_file_order();
    file_.mapped().expect(Access::kRandom);
  }

  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    const std::uint64_t offset = offsets_.at(static_cast<std::size_t>(index));
    const ImageRecord record = file_.reader().image_record_at(offset, scratch);
    if (record.image.empty()) {
      throw DataError(file_.reader().name(), "offset " + std::to_string(offset), "no image bytes");
    }
    return record.image;
  }

  void will_need(std::int64_t first, std::int64_t count) const override {
    if (count < 1) return;
    const auto end = static_cast<std::size_t>(first + count);
    // These images lie in the file in this order: one ends where the next begins.
    file_.mapped().will_need(offsets_.at(static_cast<std::size_t>(first)),
                             end < offsets_.size() ? offsets_[end] : file_.reader().size());
  }

  std::string key(std::int64_t index) const override {
    const auto i = static_cast<std::size_t>(index);
    return std::to_string(keys_.empty() ? first_key_ + i : keys_.at(i));
  }

  void exclude(std::int64_t index, const std::string& reason) override {
    exclusions_.add(key(index), reason);
  }

 private:
  void select(RecordIndex index, int min_images) {
    std::vector<bool> excluded;
    if (!exclusions_.empty()) excluded.resize(index.size());
    exclusions_.for_each([&](const std::string& key) {
      if (const auto i = find(index, key)) excluded[*i] = true;
    });
    Selection selection =
        select_images(std::move(index.identities), excluded, min_images, file_.mapped().path());
    if (selection.labels.size() != selection.kept.size()) {
      write_out(index.keys, index.first_key, index.size());
      keep_only(index.keys, selection.kept);
      keep_only(index.offsets, selection.kept);
    }
    offsets_ = std::move(index.offsets);
    keys_ = std::move(index.keys);
    first_key_ = index.first_key;
    labels_ = std::move(selection.labels);
    identities_ = selection.identities;
    class_identities_ = std::move(selection.class_identities);
    summary_ = selection.summary;
  }

  void put_in_file_order() {
    if (std::ranges::is_sorted(offsets_)) return;
    write_out(keys_, first_key_, offsets_.size());
    std::vector<std::uint32_t> order(offsets_.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::sort(order, {}, [&](std::uint32_t i) { return offsets_[i]; });
    offsets_ = in_order(offsets_, order);
    keys_ = in_order(keys_, order);
    labels_ = in_order(labels_, order);
  }

  static std::optional<std::size_t> find(const RecordIndex& index, const std::string& key) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
    if (error != std::errc{} || end != key.data() + key.size()) return std::nullopt;
    return index.find(number);
  }

  RecordFile file_;
  ExclusionList exclusions_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint32_t> keys_;  // empty if they are first_key_, first_key_ + 1, …
  std::uint32_t first_key_ = 0;
};

}  // namespace

std::unique_ptr<Dataset> open_rec_dataset(const fs::path& rec, const DatasetOptions& options) {
  return std::make_unique<RecDataset>(rec, options);
}

}  // namespace pfc
