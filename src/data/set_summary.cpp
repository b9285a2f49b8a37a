#include "pfc/data/set_summary.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"
#include "pfc/data/contact_sheet.h"

namespace pfc {
namespace {

std::string kind_of(std::span<const std::byte> image) {
  const ImageSize size = image_size(image);
  return std::string(name_of(*image_format(image))) + " " + std::to_string(size.width) + " x " +
         std::to_string(size.height);
}

}  // namespace

void SetSummary::add(const Face& face) {
  ++images_;
  const std::uint64_t bytes = face.image.size();
  bytes_ += bytes;
  least_bytes_ = images_ == 1 ? bytes : std::min(least_bytes_, bytes);
  most_bytes_ = std::max(most_bytes_, bytes);
  try {
    ++kinds_[kind_of(face.image)];
  } catch (const Error&) {
    ++unreadable_;
  }
  counts_.add(face.identity);
  add_to_sheet(face);
}

/// Reservoir sampling: every identity has the same chance to be on the sheet.
void SetSummary::add_to_sheet(const Face& face) {
  if (counts_.of()[static_cast<std::size_t>(face.identity)] == 1) {
    ++seen_;
    const CounterRandom random(0, RandomStream::kSheet);
    const std::int64_t place = random.below(seen_, 0, static_cast<std::uint64_t>(seen_));
    if (rows_.size() < kSheetRows) {
      rows_.push_back({face.identity, {}});
    } else if (place < static_cast<std::int64_t>(kSheetRows)) {
      rows_[static_cast<std::size_t>(place)] = {face.identity, {}};
    }
  }
  const auto row = std::ranges::find(rows_, face.identity, &Row::identity);
  if (row != rows_.end() && row->images.size() < kSheetColumns)
    row->images.emplace_back(face.image.begin(), face.image.end());
}

std::int64_t SetSummary::identities() const {
  return std::ranges::count_if(counts_.of(), [](std::int64_t n) { return n > 0; });
}

SetSummary::Spread SetSummary::spread() const {
  std::vector<std::int64_t> counts;
  std::ranges::copy_if(counts_.of(), std::back_inserter(counts),
                       [](std::int64_t n) { return n > 0; });
  if (counts.empty()) throw Error("the set has no images");
  std::ranges::sort(counts);
  return {counts.front(), counts[counts.size() / 2], counts.back(),
          static_cast<double>(images_) / static_cast<double>(counts.size())};
}

std::vector<std::pair<std::string, std::int64_t>> SetSummary::histogram() const {
  std::vector<std::int64_t> bins;
  for (const std::int64_t count : counts_.of()) {
    if (count == 0) continue;
    const auto bin =
        static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(count - 1)));
    if (bin >= bins.size()) bins.resize(bin + 1);
    ++bins[bin];
  }
  std::vector<std::pair<std::string, std::int64_t>> result;
  for (std::size_t bin = 0; bin < bins.size(); ++bin) {
    const std::int64_t last = std::int64_t{1} << bin, first = bin < 2 ? last : last / 2 + 1;
    result.emplace_back(first == last ? grouped(last) : grouped(first) + "-" + grouped(last),
                        bins[bin]);
  }
  return result;
}

std::string SetSummary::text() const {
  const Spread images = spread();
  const auto missing = std::ssize(counts_.of()) - identities();
  std::string out = counted(images_, "image") + " of " + counted(identities(), "identity") +
                    (missing > 0 ? ", " + counted(missing, "label") + " without an image" : "") +
                    "\n";
  out += "images an identity: " + grouped(images.least) + " to " + grouped(images.most) +
         ", median " + grouped(images.median) + format(", mean %.2f\n", images.mean);
  out += "size: " + size_text(static_cast<std::int64_t>(bytes_)) + ", an image " +
         size_text(static_cast<std::int64_t>(least_bytes_)) + " to " +
         size_text(static_cast<std::int64_t>(most_bytes_)) + ", mean " +
         size_text(static_cast<std::int64_t>(bytes_) / images_) + "\n";
  for (const auto& [kind, count] : kinds_) out += grouped(count) + " " + kind + "\n";
  if (unreadable_ > 0) out += grouped(unreadable_) + " whose header cannot be read\n";
  out += "\nimages an identity   identities\n";
  const auto bins = histogram();
  std::int64_t most = 1;
  for (const auto& [range, count] : bins) most = std::max(most, count);
  for (const auto& [range, count] : bins) {
    out += format("%18s   %10s  %s\n", range.c_str(), grouped(count).c_str(),
                  std::string(static_cast<std::size_t>(40 * count / most), '#').c_str());
  }
  return out;
}

std::string SetSummary::json() const {
  const Spread images = spread();
  nlohmann::ordered_json json;
  json["images"] = images_;
  json["identities"] = identities();
  json["labels_without_an_image"] = std::ssize(counts_.of()) - identities();
  json["images_an_identity"] = {{"least", images.least},
                                {"median", images.median},
                                {"mean", images.mean},
                                {"most", images.most}};
  for (const auto& [range, count] : histogram()) json["histogram"][range] = count;
  json["bytes"] = bytes_;
  json["image_bytes"] = {{"least", least_bytes_}, {"most", most_bytes_}};
  json["kinds"] = kinds_;
  json["unreadable"] = unreadable_;
  return json.dump(2) + "\n";
}

RgbImage SetSummary::sheet(const Show& show) const {
  std::vector<RgbImage> images;
  std::string reason;
  for (const Row& row : rows_) {
    for (std::size_t i = 0; i < kSheetColumns; ++i) {
      RgbImage& image = images.emplace_back();
      try {
        if (i < row.images.size()) image = show(row.images[i], images.size() - 1);
      } catch (const Error& error) {  // its place stays white
        if (reason.empty()) reason = std::string(": ") + error.what();
      }
    }
  }
  const auto first =
      std::ranges::find_if(images, [](const RgbImage& image) { return image.width > 0; });
  if (first == images.end()) throw Error("no image of the sheet decodes" + reason);
  const RgbImage white{first->width, first->height,
                       std::vector<std::uint8_t>(first->pixels.size(), 255)};
  for (RgbImage& image : images)
    if (image.width != white.width || image.height != white.height) image = white;
  return contact_sheet(images, {.columns = static_cast<int>(kSheetColumns)});
}

}  // namespace pfc
