#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <opencv2/core/hal/intrin.hpp>
#include <span>
#include <string>
#include <utility>

#include "data/augmentations/built_in.h"
#include "data/augmentations/changes.h"

namespace pfc {
namespace {

/// Pillow's Image.blend: `from` at factor 0, `to` at 1, cut off to whole numbers.
std::uint8_t blended(int from, int to, float factor) {
  const float value = static_cast<float>(from) + factor * static_cast<float>(to - from);
  return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
}

/// Blends each number with `with`.
void blend_with(const ImageView& image, int with, double factor) {
  std::array<std::uint8_t, 256> blend;
  for (int value = 0; value < 256; ++value)
    blend[static_cast<std::size_t>(value)] = blended(with, value, static_cast<float>(factor));
  for (int y = 0; y < image.height; ++y)
    for (std::uint8_t& value : image.row(y)) value = blend[value];
}

int mean_luma(const ImageView& image) {
  std::uint64_t sum = 0;
  for (int y = 0; y < image.height; ++y) {
    const auto row = image.row(y);
    for (std::size_t i = 0; i < row.size(); i += 3) sum += luma(&row[i]);
  }
  const auto pixels =
      static_cast<std::uint64_t>(image.width) * static_cast<std::uint64_t>(image.height);
  return static_cast<int>((2 * sum + pixels) / (2 * pixels));  // rounded
}

/// 2¹⁶ times the luma of 8 pixels in two halves, with half a grey level. Green's weight does not
/// fit into 16 bits, so it comes in two parts.
struct Luma8 {
  cv::v_int32x4 low, high;

  Luma8(const cv::v_uint16x8& red, const cv::v_uint16x8& green, const cv::v_uint16x8& blue) {
    constexpr short kRed = 19595, kHalfGreen = 19235, kBlue = 7471;  // as `luma` has them
    const cv::v_int16x8 of_red(kRed, kHalfGreen, kRed, kHalfGreen, kRed, kHalfGreen, kRed,
                               kHalfGreen);
    const cv::v_int16x8 of_blue(kHalfGreen, kBlue, kHalfGreen, kBlue, kHalfGreen, kBlue, kHalfGreen,
                                kBlue);
    const cv::v_int32x4 half(0x8000, 0x8000, 0x8000, 0x8000);
    cv::v_int16x8 red_low, red_high, blue_low, blue_high;
    const cv::v_int16x8 between = cv::v_reinterpret_as_s16(green);
    cv::v_zip(cv::v_reinterpret_as_s16(red), between, red_low, red_high);
    cv::v_zip(between, cv::v_reinterpret_as_s16(blue), blue_low, blue_high);
    low = cv::v_dotprod(red_low, of_red, cv::v_dotprod(blue_low, of_blue, half));
    high = cv::v_dotprod(red_high, of_red, cv::v_dotprod(blue_high, of_blue, half));
  }
};

/// `blended` of 4 numbers before they are cut off.
cv::v_int32x4 blended(const cv::v_float32x4& from, const cv::v_uint32x4& to,
                      const cv::v_float32x4& factor) {
  const cv::v_float32x4 minus_one(-1, -1, -1, -1);
  const cv::v_float32x4 number = cv::v_cvt_f32(cv::v_reinterpret_as_s32(to));
  return cv::v_trunc(cv::v_muladd(factor, cv::v_muladd(from, minus_one, number), from));
}

/// change_saturation of a row's pixels in sixteens, in vectors that every processor of a kind has.
/// Returns how many numbers that were.
std::size_t saturate_vectors(std::span<std::uint8_t> row, float share) {
  constexpr std::size_t kNumbers = 48;
  const cv::v_float32x4 factor(share, share, share, share);
  std::size_t done = 0;
  for (; done + kNumbers <= row.size(); done += kNumbers) {
    std::array<cv::v_uint8x16, 3> rgb;
    cv::v_load_deinterleave(&row[done], rgb[0], rgb[1], rgb[2]);
    std::array<std::array<cv::v_uint16x8, 2>, 3> wide;  // of each channel, its halves
    for (std::size_t c = 0; c < 3; ++c) cv::v_expand(rgb[c], wide[c][0], wide[c][1]);
    std::array<std::array<cv::v_int16x8, 2>, 3> changed;
    for (std::size_t half = 0; half < 2; ++half) {
      const Luma8 luma(wide[0][half], wide[1][half], wide[2][half]);
      const cv::v_float32x4 low = cv::v_cvt_f32(cv::v_shr<16>(luma.low));
      const cv::v_float32x4 high = cv::v_cvt_f32(cv::v_shr<16>(luma.high));
      for (std::size_t c = 0; c < 3; ++c) {
        cv::v_uint32x4 first, last;
        cv::v_expand(wide[c][half], first, last);
        changed[c][half] = cv::v_pack(blended(low, first, factor), blended(high, last, factor));
      }
    }
    for (std::size_t c = 0; c < 3; ++c) rgb[c] = cv::v_pack_u(changed[c][0], changed[c][1]);
    cv::v_store_interleave(&row[done], rgb[0], rgb[1], rgb[2]);
  }
  return done;
}

}  // namespace

void change_brightness(const ImageView& image, double factor) {
  blend_with(image, 0, factor);
}

void change_contrast(const ImageView& image, double factor) {
  blend_with(image, mean_luma(image), factor);
}

void change_saturation(const ImageView& image, double factor) {
  const auto share = static_cast<float>(factor);
  for (int y = 0; y < image.height; ++y) {
    const auto row = image.row(y);
    for (std::size_t i = saturate_vectors(row, share); i < row.size(); i += 3) {
      const std::uint8_t grey = luma(&row[i]);
      for (std::size_t c = i; c < i + 3; ++c) row[c] = blended(grey, row[c], share);
    }
  }
}

/// AdaFace's (Kim et al., CVPR 2022): torchvision's ColorJitter without the hue.
Augmentation photometric_augmentation() {
  const auto setting = [](const std::string& name) {
    return AugmentationSetting{
        name, 0.5, key::from_to(0, 1),
        name + " changes by a factor from 1 minus this to 1 plus this; the three in random order"};
  };
  return {.name = "photometric",
          .meaning = "brightness, contrast and saturation change",
          .probability = 0.2,
          .settings = {setting("brightness"), setting("contrast"), setting("saturation")},
          .make = [](std::span<const double> values) {
            return [most = std::array{values[0], values[1], values[2]}](const ImageView& image,
                                                                        AugmentationDraws& draws) {
              using Change = void (*)(const ImageView&, double);
              std::array<std::pair<Change, double>, 3> changes = {
                  {{change_brightness, draws.uniform(1 - most[0], 1 + most[0])},
                   {change_contrast, draws.uniform(1 - most[1], 1 + most[1])},
                   {change_saturation, draws.uniform(1 - most[2], 1 + most[2])}}};
              std::swap(changes[2], changes[static_cast<std::size_t>(draws.below(3))]);
              std::swap(changes[1], changes[static_cast<std::size_t>(draws.below(2))]);
              for (const auto& [change, factor] : changes) change(image, factor);
            };
          }};
}

}  // namespace pfc
