#pragma once

#include <csetjmp>
#include <cstddef>  // for std::byte
#include <cstdint>
#include <cstdio>  // jpeglib.h needs it
#include <span>
#include <string>

#include <jpeglib.h>

namespace pfc {

/// Decodes one JPEG in memory to 8-bit RGB. Every failure throws Error.
class JpegReader {
 public:
  /// Whether the bytes begin like a JPEG.
  static bool recognises(std::span<const std::byte> encoded);

  /// Reads everything before the pixels. `encoded` must outlive the reader.
  explicit JpegReader(std::span<const std::byte> encoded);
  ~JpegReader();
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  int width() const { return static_cast<int>(jpeg_.image_width); }
  int height() const { return static_cast<int>(jpeg_.image_height); }
  /// As EXIF says it.
  int orientation() const;
  /// Reads the pixels into `out` [height, width, 3].
  void read(std::uint8_t* out);

 private:
  // libjpeg leaves its functions by longjmp, which must not jump over a destructor. So these
  // functions hold only plain data and report failure by their result.
  bool try_read_header(std::span<const std::byte> encoded) noexcept;
  bool try_read_pixels(std::uint8_t* out) noexcept;
  /// Whether a file without an end marker has all of its pixels.
  bool has_all_scans() const;
  void note_warning();
  [[noreturn]] void fail() const;

  [[noreturn]] static void on_error(j_common_ptr jpeg);
  static void on_message(j_common_ptr jpeg, int level);
  static void on_progress(j_common_ptr jpeg);

  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf leave_{};
  char message_[JMSG_LENGTH_MAX] = "";  ///< the error, or the first loss of data
  bool lost_data_ = false, without_end_ = false;
};

}  // namespace pfc
