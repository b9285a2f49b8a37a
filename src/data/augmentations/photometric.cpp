#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
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

}  // namespace

void change_brightness(const ImageView& image, double factor) {
  blend_with(image, 0, factor);
}

void change_contrast(const ImageView& image, double factor) {
  blend_with(image, mean_luma(image), factor);
}

void change_saturation(const ImageView& image, double factor) {
  constexpr int kBits = 16;   // of a fraction
  std::array<int, 256> part;  // of a channel, which is blended with the rest of the grey
  for (std::size_t value = 0; value < part.size(); ++value) {
    part[value] = static_cast<int>(std::lround(factor * static_cast<double>(value << kBits)));
  }
  const auto with_rest = [](int rest, int of_channel) {
    return static_cast<std::uint8_t>(std::clamp((rest + of_channel) >> kBits, 0, 255));
  };
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* rgb = image.at(0, y);
    for (int x = 0; x < image.width; ++x, rgb += 3) {
      const std::uint8_t grey = luma(rgb);
      const int rest = (grey << kBits) - part[grey];
      const int red = part[rgb[0]], green = part[rgb[1]], blue = part[rgb[2]];
      rgb[0] = with_rest(rest, red);
      rgb[1] = with_rest(rest, green);
      rgb[2] = with_rest(rest, blue);
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
