#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pfc/data/face_selection.h"
#include "pfc/data/image_codec.h"

namespace pfc {

/// Counts what a set holds, image by image.
class SetSummary {
 public:
  static constexpr std::size_t kSheetRows = 12, kSheetColumns = 8;

  void add(const Face& face);

  std::int64_t images() const { return images_; }
  std::int64_t identities() const;
  /// A page of text.
  std::string text() const;
  std::string json() const;
  /// Makes the picture of an image that stands at `place` of a sheet. Throws Error if it cannot.
  using Show = std::function<RgbImage(std::span<const std::byte> encoded, std::size_t place)>;
  /// The first images of identities drawn at random, one row each. A place is white if the image
  /// does not decode or differs in size from the first. Throws Error if no image decodes.
  RgbImage sheet(const Show& show = [](auto encoded, std::size_t) {
    return decode_image(encoded);
  }) const;

 private:
  struct Row {
    std::int64_t identity = -1;
    std::vector<std::vector<std::byte>> images;
  };
  struct Spread {
    std::int64_t least = 0, median = 0, most = 0;
    double mean = 0;
  };

  void add_to_sheet(const Face& face);
  Spread spread() const;
  /// How many identities have 1, 2, 3-4, 5-8, … images.
  std::vector<std::pair<std::string, std::int64_t>> histogram() const;

  std::int64_t images_ = 0, unreadable_ = 0;
  std::uint64_t bytes_ = 0, least_bytes_ = 0, most_bytes_ = 0;
  std::map<std::string, std::int64_t> kinds_;  // "JPEG 112 x 112": how many
  ImageCounts counts_;
  std::int64_t seen_ = 0;  // identities so far
  std::vector<Row> rows_;
};

}  // namespace pfc
