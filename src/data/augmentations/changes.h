#pragma once

#include <array>
#include <cstdint>

#include "pfc/data/augmentation.h"
#include "pfc/data/image_codec.h"

// What the built-in augmentations do to an image once everything is drawn. Tests compare these
// functions with Pillow and with torchvision's formulas.

namespace pfc {

struct ImageBox {
  int left, top, width, height;
};
/// Everything but the box becomes black.
void keep_box(const ImageView& image, const ImageBox& box);
/// The box becomes black.
void erase_box(const ImageView& image, const ImageBox& box);
/// The box becomes the image: bilinear.
void enlarge_box(const ImageView& image, const ImageBox& box);

/// OpenCV's INTER_NEAREST, INTER_LINEAR, INTER_AREA, INTER_CUBIC and INTER_LANCZOS4.
enum class Resampling { kNearest, kBilinear, kArea, kCubic, kLanczos };
inline constexpr std::array kResamplings = {Resampling::kNearest, Resampling::kBilinear,
                                            Resampling::kArea, Resampling::kCubic,
                                            Resampling::kLanczos};
/// Fills `to` with the image `from`, at its own size.
void resample(const ImageView& from, const ImageView& to, Resampling resampling);

/// Pillow's ImageEnhance, which torchvision's ColorJitter calls: the image is blended with black,
/// with the grey of its mean, or with itself in grey. A factor of 1 changes nothing.
void change_brightness(const ImageView& image, double factor);
void change_contrast(const ImageView& image, double factor);
void change_saturation(const ImageView& image, double factor);

/// Gaussian of standard deviation `sigma` in pixels, mirrored at the border.
void blur(const ImageView& image, double sigma);

/// As JPEG (4:2:0) and back, quality 1 to 100. An image too large for a JPEG stays as it is.
void jpeg_again(const ImageView& image, int quality);

/// A map of the plane around the middle of the image, with y downwards: shear along x, then scale
/// and rotation, then the shift.
struct AffineChange {
  double degrees = 0;  ///< clockwise
  double shift_x = 0, shift_y = 0;
  double scale = 1;
  double shear_degrees = 0;
};
/// Bilinear, on black (torchvision's affine of tensors).
void map_affine(const ImageView& image, const AffineChange& affine);

/// ITU-R 601-2 luma in 16 bits, as Pillow has it.
inline std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >>
                                   16);
}

}  // namespace pfc
