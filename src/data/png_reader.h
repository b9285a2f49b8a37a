#pragma once

#include <png.h>

#include <array>
#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>

namespace pfc {

/// Decodes one PNG in memory to 8-bit RGB. Every failure throws Error.
class PngReader {
 public:
  /// Whether the bytes begin like a PNG.
  static bool recognises(std::span<const std::byte> encoded);

  /// Reads everything before the pixels. `encoded` must outlive the reader.
  explicit PngReader(std::span<const std::byte> encoded);
  ~PngReader();
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  int width() const { return width_; }
  int height() const { return height_; }
  /// The EXIF orientation, if EXIF comes before the pixels.
  int orientation() const;
  /// Reads the pixels into `out` [height, width, 3], and the rest of the file.
  void read(std::uint8_t* out);

 private:
  // libpng leaves its functions by longjmp, which must not jump over a destructor. So these two
  // functions hold only plain data and report failure by their result; their callers throw.
  bool try_read_header() noexcept;
  bool try_read_pixels(std::uint8_t* out) noexcept;
  [[noreturn]] void fail() const;

  static void on_read(png_structp png, png_bytep to, std::size_t size);
  [[noreturn]] static void on_error(png_structp png, png_const_charp message);

  std::span<const std::byte> unread_;
  std::array<char, 128> message_{};
  bool ended_early_ = false, has_rows_ = false;
  int width_ = 0;
  int height_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace pfc
