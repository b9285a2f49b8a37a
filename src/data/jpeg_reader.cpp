#include "data/jpeg_reader.h"

#include <jerror.h>

#include <cstring>

#include "data/exif.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

/// R, G and B from C, M, Y and K. Files hold CMYK as 255 minus the ink: Adobe's programs began with
/// it, and all others write and read it that way.
void cmyk_to_rgb(const std::uint8_t* cmyk, int width, std::uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    for (int channel = 0; channel < 3; ++channel)
      rgb[channel] = static_cast<std::uint8_t>((cmyk[channel] * cmyk[3] + 127) / 255);
  }
}

}  // namespace

bool JpegReader::recognises(std::span<const std::byte> encoded) {
  return encoded.size() >= 3 && encoded[0] == std::byte{0xff} && encoded[1] == std::byte{0xd8} &&
         encoded[2] == std::byte{0xff};
}

JpegReader::JpegReader(std::span<const std::byte> encoded) {
  if (try_read_header(encoded)) return;
  jpeg_destroy_decompress(&jpeg_);
  fail();
}

JpegReader::~JpegReader() {
  jpeg_destroy_decompress(&jpeg_);
}

int JpegReader::orientation() const {
  constexpr std::string_view kExif("Exif\0\0", 6);
  for (const jpeg_marker_struct* marker = jpeg_.marker_list; marker != nullptr;
       marker = marker->next) {
    const std::span bytes(reinterpret_cast<const std::byte*>(marker->data), marker->data_length);
    if (bytes.size() >= kExif.size() && std::memcmp(bytes.data(), kExif.data(), kExif.size()) == 0)
      return exif_orientation(bytes);
  }
  return 1;
}

void JpegReader::read(std::uint8_t* out) {
  if (!try_read_pixels(out) || lost_data_) fail();
}

bool JpegReader::try_read_header(std::span<const std::byte> encoded) noexcept {
  jpeg_.err = jpeg_std_error(&errors_);
  errors_.error_exit = &JpegReader::on_error;
  errors_.emit_message = &JpegReader::on_message;
  jpeg_.client_data = this;
  if (setjmp(leave_) != 0) return false;
  jpeg_create_decompress(&jpeg_);
  jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(encoded.data()),
               static_cast<unsigned long>(encoded.size()));
  jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xffff);  // EXIF
  if (jpeg_read_header(&jpeg_, FALSE) != JPEG_HEADER_OK) {
    std::strncpy(message_, "no image in it", sizeof message_ - 1);
    return false;
  }
  return true;
}

bool JpegReader::try_read_pixels(std::uint8_t* out) noexcept {
  if (setjmp(leave_) != 0) return false;
  const bool is_cmyk = jpeg_.jpeg_color_space == JCS_CMYK || jpeg_.jpeg_color_space == JCS_YCCK;
  jpeg_.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_.dct_method = JDCT_ISLOW;
  progress_.progress_monitor = &JpegReader::on_progress;
  jpeg_.progress = &progress_;
  jpeg_start_decompress(&jpeg_);
  JSAMPARRAY row = nullptr;  // in libjpeg's pool, freed with the reader
  if (is_cmyk) {
    row = (*jpeg_.mem->alloc_sarray)(reinterpret_cast<j_common_ptr>(&jpeg_), JPOOL_IMAGE,
                                     4 * jpeg_.output_width, 1);
  }
  while (jpeg_.output_scanline < jpeg_.output_height) {
    std::uint8_t* const rgb = out + std::size_t{3} * jpeg_.output_width * jpeg_.output_scanline;
    JSAMPROW to = is_cmyk ? row[0] : rgb;
    if (jpeg_read_scanlines(&jpeg_, &to, 1) != 1) return false;
    if (is_cmyk) cmyk_to_rgb(to, width(), rgb);
  }
  // All rows are here. The rest of the file is not examined, so an error in it does not matter.
  if (without_end_ && !has_all_scans()) lost_data_ = true;
  return true;
}

bool JpegReader::has_all_scans() const {
  if (jpeg_.coef_bits == nullptr)
    return jpeg_has_multiple_scans(const_cast<jpeg_decompress_struct*>(&jpeg_)) == FALSE;
  for (int component = 0; component < jpeg_.num_components; ++component) {
    for (int coefficient = 0; coefficient < DCTSIZE2; ++coefficient)
      if (jpeg_.coef_bits[component][coefficient] != 0) return false;  // more bits would follow
  }
  return true;
}

/// Counts only those of libjpeg's warnings that mean changed pixels. Stray bytes before a marker,
/// and unknown versions and colour transforms, do not count.
void JpegReader::note_warning() {
  switch (errors_.msg_code) {
    case JWRN_JPEG_EOF:  // if pixels are missing, JWRN_HIT_MARKER comes too
      without_end_ = true;
      break;
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_NOT_SEQUENTIAL:
      lost_data_ = true;
      break;
    default:
      return;
  }
  if (message_[0] == '\0')
    (*errors_.format_message)(reinterpret_cast<j_common_ptr>(&jpeg_), message_);
}

void JpegReader::fail() const {
  throw Error("corrupt JPEG: " + std::string(message_));
}

void JpegReader::on_error(j_common_ptr jpeg) {
  auto* self = static_cast<JpegReader*>(jpeg->client_data);
  (*jpeg->err->format_message)(jpeg, self->message_);
  std::longjmp(self->leave_, 1);
}

void JpegReader::on_message(j_common_ptr jpeg, int level) {
  if (level < 0) static_cast<JpegReader*>(jpeg->client_data)->note_warning();
}

/// A progressive file may demand thousands of passes over its pixels.
void JpegReader::on_progress(j_common_ptr jpeg) {
  constexpr int kMostScans = 500;
  auto* self = static_cast<JpegReader*>(jpeg->client_data);
  if (self->jpeg_.input_scan_number <= kMostScans) return;
  std::strncpy(self->message_, "more than 500 scans", sizeof self->message_ - 1);
  std::longjmp(self->leave_, 1);
}

}  // namespace pfc
