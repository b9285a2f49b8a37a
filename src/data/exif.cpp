#include "data/exif.h"

#include <algorithm>
#include <optional>
#include <string_view>

namespace pfc {
namespace {

/// Numbers of a TIFF structure, in its byte order; nothing if it ends before.
class Tiff {
 public:
  explicit Tiff(std::span<const std::byte> bytes) : bytes_(bytes) {
    constexpr std::uint32_t kTiffMark = 42;
    const auto starts_with = [&](char c) {
      return bytes.size() >= 2 && bytes[0] == std::byte(c) && bytes[1] == std::byte(c);
    };
    big_endian_ = starts_with('M');
    valid_ = (big_endian_ || starts_with('I')) && number(2, 2) == kTiffMark;
  }

  bool valid() const { return valid_; }
  std::optional<std::uint32_t> number(std::size_t offset, std::size_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = offset + (big_endian_ ? i : size - 1 - i);
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_ = false, valid_ = false;
};

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  const std::string_view text(reinterpret_cast<const char*>(exif.data()), exif.size());
  const Tiff tiff(text.starts_with(kPrefix) ? exif.subspan(kPrefix.size()) : exif);
  if (!tiff.valid()) return 1;
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  constexpr std::size_t kEntryBytes = 12;
  const std::size_t directory = tiff.number(4, 4).value_or(0);
  const std::size_t entries = tiff.number(directory, 2).value_or(0);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    const auto tag = tiff.number(entry, 2);
    if (!tag) return 1;  // cut off
    if (*tag != kOrientation) continue;
    const std::size_t size = tiff.number(entry + 2, 2) == kShort ? 2 : 4;
    const std::uint32_t value = tiff.number(entry + 8, size).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

ImageSize upright(ImageSize size, int orientation) {
  if (orientation >= 5) std::swap(size.width, size.height);
  return size;
}

void turn_upright(std::span<const std::uint8_t> pixels, ImageSize size, int orientation,
                  std::uint8_t* out) {
  const bool swapped = orientation >= 5;  // rows become columns
  const bool from_last_row =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_last_column =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const ImageSize turned = upright(size, orientation);
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x, out += 3) {
      const int row = swapped ? x : y, column = swapped ? y : x;
      const std::ptrdiff_t from_row = from_last_row ? size.height - 1 - row : row;
      const std::ptrdiff_t from_column = from_last_column ? size.width - 1 - column : column;
      std::copy_n(pixels.begin() + 3 * (from_row * size.width + from_column), 3, out);
    }
  }
}

}  // namespace pfc
