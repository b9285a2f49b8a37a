#include "data/png_reader.h"

#include <csetjmp>
#include <cstring>
#include <new>
#include <string>

#include "data/exif.h"
#include "pfc/base/error.h"

namespace pfc {

bool PngReader::recognises(std::span<const std::byte> encoded) {
  constexpr std::size_t kSignature = 8;
  return encoded.size() >= kSignature &&
         png_sig_cmp(reinterpret_cast<png_const_bytep>(encoded.data()), 0, kSignature) == 0;
}

PngReader::PngReader(std::span<const std::byte> encoded) : unread_(encoded) {
  const auto on_warning = [](png_structp, png_const_charp) {
  };  // of ancillary chunks, which are ignored
  png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &PngReader::on_error, on_warning);
  if (png_ != nullptr) info_ = png_create_info_struct(png_);
  if (info_ == nullptr) {
    png_destroy_read_struct(&png_, nullptr, nullptr);
    throw std::bad_alloc();
  }
  png_set_read_fn(png_, this, &PngReader::on_read);
  if (try_read_header()) return;
  png_destroy_read_struct(&png_, &info_, nullptr);
  fail();
}

PngReader::~PngReader() {
  png_destroy_read_struct(&png_, &info_, nullptr);
}

int PngReader::orientation() const {
  png_bytep exif = nullptr;
  png_uint_32 size = 0;
  if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return 1;
  return exif_orientation({reinterpret_cast<const std::byte*>(exif), size});
}

void PngReader::read(std::uint8_t* out) {
  if (!try_read_pixels(out)) fail();
}

bool PngReader::try_read_header() noexcept {
  if (setjmp(png_jmpbuf(png_)) != 0) return false;
  png_read_info(png_, info_);
  width_ =
      static_cast<int>(png_get_image_width(png_, info_));  // libpng refuses sizes above a million
  height_ = static_cast<int>(png_get_image_height(png_, info_));
  png_set_expand(png_);
  png_set_strip_16(png_);
  png_set_gray_to_rgb(png_);
  png_set_strip_alpha(png_);
  return true;
}

bool PngReader::try_read_pixels(std::uint8_t* out) noexcept {
  // After the last row come checksums, which must be right, and an end chunk, which may be missing.
  if (setjmp(png_jmpbuf(png_)) != 0) return has_rows_ && ended_early_;
  const int passes = png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  const std::size_t stride = png_get_rowbytes(png_, info_);
  if (stride != 3 * static_cast<std::size_t>(width_)) png_error(png_, "unexpected pixel layout");
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < height_; ++y) {
      png_read_row(png_, out + static_cast<std::size_t>(y) * stride, nullptr);
    }
  }
  has_rows_ = true;
  png_read_end(png_, nullptr);
  return true;
}

void PngReader::fail() const {
  throw Error("corrupt PNG: " + std::string(message_.data()));
}

void PngReader::on_read(png_structp png, png_bytep to, std::size_t size) {
  auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
  if (size > self->unread_.size()) {
    self->ended_early_ = true;
    png_error(png, "premature end of file");
  }
  std::memcpy(to, self->unread_.data(), size);
  self->unread_ = self->unread_.subspan(size);
}

void PngReader::on_error(png_structp png, png_const_charp message) {
  auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
  std::strncpy(self->message_.data(), message, self->message_.size() - 1);
  png_longjmp(png, 1);
}

}  // namespace pfc
