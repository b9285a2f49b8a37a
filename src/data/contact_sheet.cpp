#include "pfc/data/contact_sheet.h"

#include <algorithm>
#include <string>

#include "base/ceil_divide.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

std::string size_text(const RgbImage& image) {
  return std::to_string(image.width) + " x " + std::to_string(image.height);
}

void check_same_size(std::span<const RgbImage> images) {
  const RgbImage& first = images.front();
  for (std::size_t i = 1; i < images.size(); ++i) {
    if (images[i].width == first.width && images[i].height == first.height) continue;
    throw Error("image " + std::to_string(i) + " of a contact sheet is " + size_text(images[i]) +
                " pixels, want " + size_text(first) + " as the first");
  }
}

/// Copies `image` to (left, top) of `sheet`; it must fit.
void place(const RgbImage& image, int left, int top, RgbImage& sheet) {
  const auto row_bytes = std::ptrdiff_t{3} * image.width;
  for (int y = 0; y < image.height; ++y) {
    const auto from = image.pixels.begin() + y * row_bytes;
    const auto offset = (std::ptrdiff_t{top + y} * sheet.width + left) * 3;
    std::copy(from, from + row_bytes, sheet.pixels.begin() + offset);
  }
}

}  // namespace

RgbImage contact_sheet(std::span<const RgbImage> images, const ContactSheetOptions& options) {
  if (images.empty() || options.columns < 1 || options.gap < 0) {
    throw Error("a contact sheet wants at least one image and one column, found " +
                counted(images.size(), "image") + " and " + counted(options.columns, "column"));
  }
  check_same_size(images);
  const int step_x = images.front().width + options.gap;
  const int step_y = images.front().height + options.gap;
  const auto count = static_cast<int>(images.size());
  const int columns = std::min(options.columns, count);
  const int rows = ceil_divide(count, columns);

  RgbImage sheet{columns * step_x - options.gap, rows * step_y - options.gap, {}};
  sheet.pixels.assign(std::size_t{3} * static_cast<std::size_t>(sheet.width) *
                          static_cast<std::size_t>(sheet.height),
                      255);
  for (int i = 0; i < count; ++i) {
    place(images[static_cast<std::size_t>(i)], i % columns * step_x, i / columns * step_y, sheet);
  }
  return sheet;
}

}  // namespace pfc
