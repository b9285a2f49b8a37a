#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

#include "data/augmentations/built_in.h"
#include "data/augmentations/changes.h"

namespace pfc {
namespace {

double radians(double degrees) {
  return degrees * std::numbers::pi / 180;
}

int rounded_down(double x) {
  const int whole = static_cast<int>(x);
  return x < whole ? whole - 1 : whole;
}

/// Where the middle of a pixel of the result lies in the image that was given.
struct Inverse {
  double xx, xy, x0, yx, yy, y0;

  Inverse(const ImageView& image, const AffineChange& affine) {
    const double cosine = std::cos(radians(affine.degrees)),
                 sine = std::sin(radians(affine.degrees)),
                 shear = std::tan(radians(affine.shear_degrees));
    xx = (cosine - sine * shear) / affine.scale;
    xy = (sine + cosine * shear) / affine.scale;
    yx = -sine / affine.scale;
    yy = cosine / affine.scale;
    const double middle_x = (image.width - 1) / 2.0, middle_y = (image.height - 1) / 2.0;
    const double x = middle_x + affine.shift_x, y = middle_y + affine.shift_y;
    x0 = middle_x - xx * x - xy * y;
    y0 = middle_y - yx * x - yy * y;
  }
};

/// An image with a pixel of black on each side, so that all that is read near it is there.
class OnBlack {
 public:
  explicit OnBlack(const ImageView& image)
      : width_(image.width),
        height_(image.height),
        row_bytes_(3 * (static_cast<std::size_t>(width_) + 2)),
        bytes_(row_bytes_ * (static_cast<std::size_t>(height_) + 2)) {
    for (int y = 0; y < height_; ++y) std::ranges::copy(image.row(y), at(0, y));
  }

  void bilinear(double x, double y, std::uint8_t* rgb) const {
    if (!(x > -1 && x < width_ && y > -1 && y < height_)) {
      std::fill_n(rgb, 3, std::uint8_t{0});
      return;
    }
    const int left = rounded_down(x), top = rounded_down(y);
    const auto right = static_cast<std::uint32_t>(std::lround(kOne * (x - left))),
               bottom = static_cast<std::uint32_t>(std::lround(kOne * (y - top)));
    const std::uint32_t weights[] = {(kOne - right) * (kOne - bottom), right * (kOne - bottom),
                                     (kOne - right) * bottom, right * bottom};
    const std::uint8_t* const above = at(left, top);
    const std::uint8_t* const below = above + row_bytes_;
    for (int channel = 0; channel < 3; ++channel) {
      const std::uint32_t sum = weights[0] * above[channel] + weights[1] * above[channel + 3] +
                                weights[2] * below[channel] + weights[3] * below[channel + 3];
      rgb[channel] = static_cast<std::uint8_t>((sum + kOne * kOne / 2) / (kOne * kOne));
    }
  }

 private:
  static constexpr std::uint32_t kOne = 1 << 11;  // so that four products of bytes fit

  std::uint8_t* at(int x, int y) {
    return bytes_.data() + row_bytes_ * static_cast<std::size_t>(y + 1) +
           3 * static_cast<std::size_t>(x + 1);
  }
  const std::uint8_t* at(int x, int y) const { return const_cast<OnBlack*>(this)->at(x, y); }

  int width_, height_;
  std::size_t row_bytes_;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace

void map_affine(const ImageView& image, const AffineChange& affine) {
  const OnBlack given(image);
  const Inverse from(image, affine);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      given.bilinear(from.xx * x + from.xy * y + from.x0, from.yx * x + from.yy * y + from.y0,
                     image.at(x, y));
    }
  }
}

/// torchvision's RandomAffine.
Augmentation affine_augmentation() {
  return {
      .name = "affine",
      .meaning = "the image is rotated, moved, scaled and sheared, on black",
      .probability = 0.2,
      .settings = {{"degrees", 10, key::from_to(0, 180), "the largest rotation, to both sides"},
                   {"shift", 0.05, key::from_to(0, 1),
                    "the largest shift, to all sides, as a share of the image's"},
                   {"scale", 0.1, key::from_below(0, 1),
                    "sides change by a factor from 1 minus this to 1 plus this"},
                   {"shear", 5, key::from_to(0, 60),
                    "the largest angle by which the vertical leans, to both sides, in degrees"}},
      .make = [](std::span<const double> values) {
        return [degrees = values[0], shift = values[1], scale = values[2], shear = values[3]](
                   const ImageView& image, AugmentationDraws& draws) {
          const auto pixels = [&](int side) {
            return std::round(draws.uniform(-shift * side, shift * side));
          };
          AffineChange affine;
          affine.degrees = draws.uniform(-degrees, degrees);
          affine.shift_x = pixels(image.width);
          affine.shift_y = pixels(image.height);
          affine.scale = draws.uniform(1 - scale, 1 + scale);
          affine.shear_degrees = draws.uniform(-shear, shear);
          map_affine(image, affine);
        };
      }};
}

}  // namespace pfc
