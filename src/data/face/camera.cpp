#include "data/face/camera.h"

namespace pfc::face {
namespace {

constexpr std::size_t kPixels = std::size_t{kFaceSize} * kFaceSize;

std::vector<Rgb> light(const Canvas& canvas, const Conditions& how) {
  const Vec3 half = normalised(how.light + Vec3{0, 0, 1});
  std::vector<Rgb> film(kPixels);
  for (std::size_t i = 0; i < kPixels; ++i) {
    const Pixel& pixel = canvas.pixels()[i];
    const Vec3 normal = normalised(pixel.normal);
    // Light wraps around a little, as it does on skin and in a room.
    const float diffuse = std::max(0.0f, 0.85f * dot(normal, how.light) + 0.15f);
    const float sky = 0.8f - 0.2f * normal.y;
    const float mirrored = square(square(square(std::max(0.0f, dot(normal, half)))));
    film[i] = pixel.colour * (how.ambient * sky + how.key * diffuse) +
              how.key * (pixel.gloss * square(mirrored));
  }
  return film;
}

/// One binomial pass along an axis whose pixels are `step` apart; `centre` is the middle weight.
void blur_lines(std::vector<Rgb>& film, std::size_t step, std::size_t line_step, float centre) {
  const float beside = 0.5f * (1.0f - centre);
  for (std::size_t line = 0; line < kFaceSize; ++line) {
    Rgb* at = film.data() + line * line_step;
    Rgb before = *at;
    for (int i = 0; i < kFaceSize - 1; ++i, at += step) {
      const Rgb here = *at;
      *at = here * centre + (before + at[step]) * beside;
      before = here;
    }
    *at = *at * (1.0f - beside) + before * beside;
  }
}

void blur(std::vector<Rgb>& film, float amount) {
  const float centre = 1.0f - 0.5f * amount;
  for (int pass = 0; pass < 3; ++pass) {
    blur_lines(film, 1, kFaceSize, centre);
    blur_lines(film, kFaceSize, 1, centre);
  }
}

/// A triangular distribution with mean 0 and deviation 1, from the lowest two bytes.
float grain(std::uint32_t bytes) {
  const auto sum = static_cast<int>((bytes & 255) + (bytes >> 8 & 255));
  constexpr float kDeviation = 104.5f;  // √(2 · 256² / 12)
  return static_cast<float>(sum - 255) * (1.0f / kDeviation);
}

std::uint8_t level(float linear, float noise) {
  const float shown = std::sqrt(std::max(0.0f, linear)) + noise;
  // NOLINTNEXTLINE(bugprone-incorrect-roundings): never negative, and lround is a call
  return static_cast<std::uint8_t>(255.0f * clamp01(shown) + 0.5f);
}

/// Writes one pixel; its noise is made of eight random bytes.
void develop(const Conditions& how, Rgb seen, std::uint32_t low, std::uint32_t high,
             std::uint8_t* out) {
  const Rgb exposed = seen * how.exposure;
  const float grey = dot(exposed, {0.3f, 0.59f, 0.11f});
  const Rgb colour = mix(Rgb{grey, grey, grey}, exposed, how.saturation);
  const float common = 0.7f * how.noise * grain(low), own = 0.5f * how.noise;
  out[0] = level(colour.x, common + own * grain(low >> 16));
  out[1] = level(colour.y, common + own * grain(high));
  out[2] = level(colour.z, common + own * grain(high >> 16));
}

}  // namespace

RgbImage photograph(const Canvas& canvas, const Conditions& how, const CounterRandom& random,
                    std::uint64_t a, std::uint64_t b) {
  std::vector<Rgb> film = light(canvas, how);
  if (how.blur > 0) blur(film, how.blur);
  RgbImage image{kFaceSize, kFaceSize, std::vector<std::uint8_t>(3 * kPixels)};
  static_assert(kPixels % 2 == 0);
  for (std::size_t i = 0; i < kPixels; i += 2) {
    const auto words = random.words(a, b++);
    develop(how, film[i], words[0], words[1], &image.pixels[3 * i]);
    develop(how, film[i + 1], words[2], words[3], &image.pixels[3 * i + 3]);
  }
  return image;
}

}  // namespace pfc::face
