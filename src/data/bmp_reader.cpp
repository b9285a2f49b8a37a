#include "data/bmp_reader.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "base/little_endian.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

constexpr std::size_t kFileHeader = 14;
constexpr std::uint32_t kOs2Header = 12, kWindowsHeader = 40;  // of OS/2, and of Windows since 3.1
constexpr std::uint32_t kUncompressed = 0, kMasks = 3, kMasksWithAlpha = 6;

[[noreturn]] void fail_bmp(const std::string& what) {
  throw Error("corrupt BMP: " + what);
}

template <class T>
T number_at(std::span<const std::byte> bytes, std::size_t offset) {
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) fail_bmp("it ends in its header");
  return load<T>(bytes, offset);
}

/// The bits of `mask` in `value`, scaled to 0 to 255.
std::uint8_t stretched(std::uint32_t value, std::uint32_t mask) {
  if (mask == 0) return 0;
  const int shift = std::countr_zero(mask);
  return static_cast<std::uint8_t>(std::uint64_t{(value & mask) >> shift} * 255 / (mask >> shift));
}

}  // namespace

bool BmpReader::recognises(std::span<const std::byte> encoded) {
  if (encoded.size() < kFileHeader + 4 || encoded[0] != std::byte{'B'} ||
      encoded[1] != std::byte{'M'}) {
    return false;
  }
  const auto header = load<std::uint32_t>(encoded, kFileHeader);
  return header == kOs2Header || (header >= kWindowsHeader && header <= 124);
}

BmpReader::BmpReader(std::span<const std::byte> encoded) : encoded_(encoded) {
  read_header();
}

void BmpReader::read_header() {
  offset_ = number_at<std::uint32_t>(encoded_, 10);
  const auto header = number_at<std::uint32_t>(encoded_, kFileHeader);
  const bool is_old = header == kOs2Header;
  const std::int64_t width =
      is_old ? number_at<std::uint16_t>(encoded_, 18) : number_at<std::int32_t>(encoded_, 18);
  const std::int64_t height =
      is_old ? number_at<std::uint16_t>(encoded_, 20) : number_at<std::int32_t>(encoded_, 22);
  from_top_ = height < 0;
  if (width <= 0 || height == 0 || std::abs(height) > std::numeric_limits<int>::max())
    fail_bmp("a size of " + std::to_string(width) + " x " + std::to_string(height));
  width_ = static_cast<int>(width);
  height_ = static_cast<int>(std::abs(height));
  bits_ = number_at<std::uint16_t>(encoded_, is_old ? 24 : 28);
  const auto compression = is_old ? kUncompressed : number_at<std::uint32_t>(encoded_, 30);
  const bool has_masks = compression == kMasks || compression == kMasksWithAlpha;
  if (compression != kUncompressed && !has_masks)
    throw Error("a BMP with compression " + std::to_string(compression) + ", want none");
  switch (bits_) {
    case 1:
    case 4:
    case 8:
      read_palette(kFileHeader + header, is_old ? 3 : 4,
                   is_old ? 0 : number_at<std::uint32_t>(encoded_, 46));
      break;
    case 16:
    case 32:
      read_masks(compression);
      break;
    case 24:
      break;
    default:
      fail_bmp(std::to_string(bits_) + " bits a pixel");
  }
}

void BmpReader::read_masks(std::uint32_t compression) {
  if (compression == kUncompressed) {
    masks_ =
        bits_ == 16 ? std::array{0x7c00u, 0x3e0u, 0x1fu} : std::array{0xff0000u, 0xff00u, 0xffu};
    return;
  }
  for (std::size_t i = 0; i < masks_.size(); ++i)
    masks_[i] = number_at<std::uint32_t>(encoded_, kFileHeader + kWindowsHeader + 4 * i);
}

/// `colours` is the number that the header gives; 0 means as many as possible.
void BmpReader::read_palette(std::size_t begin, std::size_t entry_bytes, std::uint32_t colours) {
  const std::uint32_t most = 1u << bits_;
  const std::uint32_t count = colours == 0 ? most : std::min(colours, most);
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::size_t channel = 0; channel < 3; ++channel)  // blue first
      palette_[i][2 - channel] =
          number_at<std::uint8_t>(encoded_, begin + i * entry_bytes + channel);
  }
}

void BmpReader::read(std::uint8_t* out) const {
  const auto width = static_cast<std::size_t>(width_), bits = static_cast<std::size_t>(bits_);
  const auto height = static_cast<std::size_t>(height_);
  const std::size_t row_bytes = (width * bits + 7) / 8, stride = (width * bits + 31) / 32 * 4;
  const std::size_t needed = stride * (height - 1) + row_bytes;
  if (offset_ > encoded_.size() || encoded_.size() - offset_ < needed)
    fail_bmp("it ends before its pixels do");
  for (std::size_t y = 0; y < height; ++y) {
    const std::size_t line = from_top_ ? y : height - 1 - y;
    const auto row = encoded_.subspan(offset_ + line * stride, row_bytes);
    for (int x = 0; x < width_; ++x) out = std::ranges::copy(pixel(row, x), out).out;
  }
}

BmpReader::Colour BmpReader::pixel(std::span<const std::byte> row, int x) const {
  const std::size_t bit = static_cast<std::size_t>(x) * static_cast<std::size_t>(bits_);
  const std::size_t at = bit / 8;
  const auto byte_at = [&](std::size_t i) { return std::to_integer<std::uint8_t>(row[i]); };
  if (bits_ == 24) return {byte_at(at + 2), byte_at(at + 1), byte_at(at)};
  if (bits_ < 16) {  // the first pixel of a byte is in its highest bits
    const unsigned shift = 8u - static_cast<unsigned>(bits_) - static_cast<unsigned>(bit % 8);
    return palette_[(byte_at(at) >> shift) & ((1u << bits_) - 1)];
  }
  const std::uint32_t value =
      bits_ == 16 ? load<std::uint16_t>(row, at) : load<std::uint32_t>(row, at);
  return {stretched(value, masks_[0]), stretched(value, masks_[1]), stretched(value, masks_[2])};
}

}  // namespace pfc
