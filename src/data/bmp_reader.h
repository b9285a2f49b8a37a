#pragma once

#include <array>
#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>

namespace pfc {

/// Decodes one BMP (Windows bitmap) in memory to 8-bit RGB: 1 to 32 bits a pixel, uncompressed.
/// Every failure throws Error.
class BmpReader {
 public:
  static bool recognises(std::span<const std::byte> encoded);

  /// Reads everything before the pixels. `encoded` must outlive the reader.
  explicit BmpReader(std::span<const std::byte> encoded);

  int width() const { return width_; }
  int height() const { return height_; }
  int orientation() const { return 1; }  // a BMP has no EXIF
  /// Reads the pixels into `out` [height, width, 3].
  void read(std::uint8_t* out) const;

 private:
  using Colour = std::array<std::uint8_t, 3>;

  void read_header();
  void read_masks(std::uint32_t compression);
  void read_palette(std::size_t begin, std::size_t entry_bytes, std::uint32_t colours);
  Colour pixel(std::span<const std::byte> row, int x) const;

  std::span<const std::byte> encoded_;
  int width_ = 0, height_ = 0, bits_ = 0;  ///< bits of a pixel
  bool from_top_ = false;
  std::size_t offset_ = 0;                ///< of the pixels
  std::array<std::uint32_t, 3> masks_{};  ///< of red, green and blue
  std::array<Colour, 256> palette_{};     ///< black if the file has none
};

}  // namespace pfc
