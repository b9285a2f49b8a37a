#include "pfc/data/dataset.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/fingerprint.h"
#include "data/dataset_sources.h"
#include "data/record_file.h"
#include "data/tar_reader.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"

namespace pfc {
namespace {

std::vector<std::int32_t> images_of_each(const std::vector<std::int32_t>& identities) {
  std::vector<std::int32_t> counts;
  for (const std::int32_t identity : identities) {
    const auto c = static_cast<std::size_t>(identity);
    if (c >= counts.size()) counts.resize(c + 1);
    ++counts[c];
  }
  return counts;
}

std::int64_t present(const std::vector<std::int32_t>& counts) {
  return std::count_if(counts.begin(), counts.end(), [](std::int32_t n) { return n > 0; });
}

}  // namespace

std::filesystem::path kept_beside(const std::filesystem::path& source,
                                  const std::filesystem::path& cache_dir,
                                  std::string_view extension) {
  if (cache_dir.empty()) return std::filesystem::path(source) += extension;
  std::filesystem::create_directories(cache_dir);
  Fingerprint folder;
  folder.add(source.native());
  char tag[18];
  std::snprintf(tag, sizeof tag, ".%016llx", static_cast<unsigned long long>(folder.value()));
  std::filesystem::path name = source.filename();
  return cache_dir / ((name += tag) += extension);
}

Selection select_images(std::vector<std::int32_t> identities, const std::vector<bool>& excluded,
                        int min_images, const std::filesystem::path& source) {
  Selection selection;
  DatasetSummary& summary = selection.summary;
  std::vector<std::int32_t> counts = images_of_each(identities);
  summary.images_found = static_cast<std::int64_t>(identities.size());
  summary.identities_found = present(counts);
  for (std::size_t i = 0; i < excluded.size(); ++i) {
    if (!excluded[i]) continue;
    --counts[static_cast<std::size_t>(identities[i])];
    ++summary.images_excluded;
  }
  ClassIdentities& who = selection.class_identities;
  who.below = std::ssize(counts);
  std::vector<std::int32_t>& label_of =
      counts;  // in place, because a large set has millions of identities
  for (std::int32_t& entry : label_of) {
    entry =
        entry > 0 && entry >= min_images ? static_cast<std::int32_t>(selection.identities++) : -1;
  }
  who.classes = selection.identities;
  const auto last = std::find_if(label_of.rbegin(), label_of.rend(),
                                 [](std::int32_t label) { return label >= 0; });
  if (label_of.rend() - last != selection.identities) {  // there are gaps in the numbers before it
    who.numbers.reserve(static_cast<std::size_t>(selection.identities));
    for (std::size_t i = 0; i < label_of.size(); ++i)
      if (label_of[i] >= 0) who.numbers.push_back(static_cast<std::int32_t>(i));
  }
  selection.kept.resize(identities.size());
  for (std::size_t i = 0; i < identities.size(); ++i) {
    identities[i] = label_of[static_cast<std::size_t>(identities[i])];
    selection.kept[i] = identities[i] >= 0 && (excluded.empty() || !excluded[i]);
  }
  keep_only(identities, selection.kept);
  selection.labels = std::move(identities);
  if (selection.labels.empty()) {
    throw Error(source.string() + ": no identity has " + counted(min_images, "image") +
                " or more, found " + counted(summary.images_found, "image") + " of " +
                counted(summary.identities_found, "identity") + ", " +
                grouped(summary.images_excluded) + " of them excluded");
  }
  summary.identities_dropped = summary.identities_found - selection.identities;
  summary.images_dropped = summary.images_found - summary.images_excluded -
                           static_cast<std::int64_t>(selection.labels.size());
  return selection;
}

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options) {
  if (options.min_images < 1) {
    throw Error("min_images is " + std::to_string(options.min_images) + ", want 1 or more");
  }
  try {
    auto path = std::filesystem::absolute(options.path).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();  // "faces/" is "faces"
    const std::string want = ", want a .rec file or a folder of images";
    if (std::filesystem::is_regular_file(path)) {
      if (!is_rec(path)) {
        refuse_kind(options.path.string(), MappedFile(path).bytes(),
                    "a .rec file or a folder of images");
      }
      return open_rec_dataset(path, options);
    }
    if (!std::filesystem::is_directory(path)) {
      throw Error(options.path.string() + ": not found" + want);
    }
    const auto rec = path / "train.rec";
    if (is_there(rec)) return open_rec_dataset(rec, options);
    if (const auto shards = shards_in(path); !shards.empty()) {
      throw Error(options.path.string() + ": a folder of .tar (" +
                  counted(std::ssize(shards), "file") + ")" + want +
                  "; `pfc data pack` makes a .rec of it");
    }
    return open_folder_dataset(path, options);
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(error.path1().string() + ": " + error.code().message());
  }
}

}  // namespace pfc
