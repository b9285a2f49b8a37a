#include "data/face/paint.h"

namespace pfc::face {
namespace {

constexpr float kTemple = 0.78f;  // where the hair line turns down, as a share of the head's width

constexpr float kAhead = 1024;  // keeps the count of strands positive, where rounding down is cheap
constexpr float kShadow = 0.45f;  // of hair on the forehead

/// Brightness across the strands, -1 to 1; `t` counts strands, above -kAhead.
float strand(const Identity& who, float t) {
  const auto& table = who.hair.strands;
  t += kAhead;
  const int i = static_cast<int>(t);
  const auto index = static_cast<unsigned>(i);
  return mix(table[index % table.size()], table[(index + 1) % table.size()],
             t - static_cast<float>(i));
}

/// Hair combed along `along`, with strands side by side in `across` (head units).
Rgb hair_colour(const Identity& who, float across, float along) {
  const float wave = who.hair.waves * strand(who, 3.0f * along + 7.0f);
  const float fine = strand(who, 22.0f * (across + wave));
  const float broad = strand(who, 6.0f * (across + wave) + 11.0f);
  return who.hair.colour * (1.0f + 0.22f * fine + 0.22f * broad);
}

/// The y down to which hair covers the forehead at x.
float front_line(const Identity& who, float x) {
  const auto& hair = who.hair;
  const float jag = hair.jags > 0 ? hair.jags * std::abs(strand(who, 9.0f * x + 20.0f)) : 0.0f;
  return hair.line + hair.peak * bell(square(x / 0.3f)) + hair.sweep * square(x - hair.part) - jag;
}

/// How far inside the hair a point of the scalp lies, in head units. Beside the head (`beside`)
/// hair hangs as over the temples; otherwise a turned head would show what is behind it.
float inside_hair(const Identity& who, Vec3 head, bool beside) {
  constexpr float kNape = 0.75f;
  const float aside = std::abs(head.x) / who.head.width;
  const float side =
      beside || head.z < 0 ? 1.0f : smooth_step(kTemple - 0.12f, kTemple + 0.14f, aside);
  const float back = smooth_step(0.2f, 0.6f, -head.z);
  const float line = mix(mix(front_line(who, head.x), who.hair.sides, side),
                         std::max(kNape, who.hair.sides), back);
  // The line is steep across the temple, so the vertical distance is longer than the distance to
  // the line.
  const float steep = side > 0 && side < 1 ? 0.4f : 1.0f;
  return (line - head.y) * steep;
}

float curl_of(const Identity& who, const Pixel& pixel) {
  if (who.hair.curl <= 0) return 0;
  return who.hair.curl * 0.07f * strand(who, 7.0f * pixel.x + 30.0f) *
         strand(who, 7.0f * pixel.y + 50.0f);
}

/// The half-width of long hair at y; over the top of the head it is a cap.
float curtain(const Identity& who, float y) {
  const float reach = 1.0f + who.hair.volume;
  const float t = y / (who.head.height * reach);
  if (t <= -1) return -1;
  const float cap = t < 0 ? std::sqrt(1.0f - t * t) : 1.0f;
  const float below = std::max(0.0f, y);
  return who.head.width * reach * cap + who.hair.flare * below * 0.6f +
         who.hair.waves * strand(who, 3.5f * y + 5.0f);
}

bool long_hair(const Identity& who) {
  return !who.hair.bald && who.hair.length > 0;
}

void paint_curtain(const Scene& scene, float side) {
  const Identity& who = scene.who;
  const float inner = scene.view.project(side * 0.88f * who.head.width, 0.1f, 0).real() * side;
  const float drift = 0.25f * scene.view.aside();
  scene.canvas.each({}, [&](Pixel& pixel) {
    if (pixel.y < -0.35f) return;
    const float out = side * pixel.x;
    const float bend = 0.12f * square(std::max(0.0f, 0.5f - pixel.y));
    const float wave = who.hair.waves * strand(who, 3.0f * pixel.y + 40.0f);
    const float d = std::min({out - inner + 0.02f - bend - wave,
                              curtain(who, pixel.y) + side * drift - out + curl_of(who, pixel),
                              who.hair.length - pixel.y - 0.2f * square(out - 1.0f)});
    const float alpha = scene.view.coverage(d) * smooth_step(-0.35f, -0.1f, pixel.y);
    if (alpha <= 0) return;
    const float edge = clamp01(1.0f - 2.2f * d);
    cover(pixel, hair_colour(who, out - 0.2f * pixel.y, pixel.y) * (1.0f - 0.35f * edge),
          {side * 0.45f, 0.1f, 0.8f}, 0.0f, alpha);
    if (alpha > 0.5f) pixel.head.z = -1;
  });
}

}  // namespace

void paint_back_hair(const Scene& scene) {
  const Identity& who = scene.who;
  if (!long_hair(who)) return;
  const float drift = 0.1f * scene.view.aside();
  scene.canvas.each({}, [&](Pixel& pixel) {
    const float x = pixel.x - drift;
    const float d = std::min(curtain(who, pixel.y) - std::abs(x) + curl_of(who, pixel),
                             who.hair.length - pixel.y);
    const float alpha = scene.view.coverage(d);
    if (alpha <= 0) return;
    cover(pixel, hair_colour(who, x, pixel.y) * 0.45f, {0.5f * x, 0.2f, 0.8f}, 0, alpha);
  });
}

void paint_hair(const Scene& scene) {
  const Identity& who = scene.who;
  if (who.hair.bald) return;
  if (long_hair(who)) {
    for (const float side : {-1.0f, 1.0f}) paint_curtain(scene, side);
  }
  scene.canvas.each({.bottom = kFaceSize * 3 / 4}, [&](Pixel& pixel) {
    const float size = 1.0f + 0.8f * who.hair.volume + curl_of(who, pixel);
    const Hit hit = scene.view.look(pixel.x, pixel.y, size);
    const bool beside = pixel.head.z <= 0;
    const float inside = std::min(hit.inside, inside_hair(who, hit.head, beside));
    const float alpha = scene.view.coverage(inside);
    if (alpha < 1 && pixel.head.z > 0) darken(pixel, kShadow * smooth_step(-0.16f, 0.0f, inside));
    if (alpha <= 0) return;
    const float from_part = hit.head.x - who.hair.part;
    const float across =
        from_part / (1.15f + hit.head.y / (who.head.height * 1.9f)) + 0.15f * hit.head.y;
    const float sheen = bell(square((hit.head.y + 0.95f) / 0.22f)) * clamp01(hit.head.z);
    const Rgb colour = hair_colour(who, across, hit.head.y) * (1.0f + 0.6f * sheen);
    cover(pixel, colour * (1.0f - ink(hit.normal)), hit.normal, 0.05f, alpha);
    if (alpha > 0.5f) pixel.head.z = -1;
  });
}

void paint_beard(const Scene& scene) {
  const Identity& who = scene.who;
  const auto& beard = who.beard;
  const Rgb colour = who.hair.colour * 0.6f;
  if (beard.density > 0) {
    scene.near({0, 0.75f, 1.05f, 0.75f}, [&](Pixel& pixel, float dx, float dy) {
      const float y = dy + 0.75f;
      const float aside = std::abs(dx) / who.head.width;
      const float cheek =
          mix(who.mouth.level + 0.18f, beard.line, smooth_step(0.15f, 0.75f, aside));
      const float line = cheek - 0.5f * smooth_step(0.72f, 0.95f, aside);
      const float grain = 0.85f + 0.15f * strand(who, 30.0f * dx + 3.0f * y);
      const float front = smooth_step(0.0f, 0.3f, pixel.head.z);
      tint(pixel, colour, beard.density * grain * front * smooth_step(-0.1f, 0.12f, y - line));
    });
  }
  if (beard.moustache > 0) {
    const float y = 0.5f * (who.mouth.level + who.nose.tip) + 0.06f;
    scene.near({0, y, who.mouth.width, 0.2f, 0.03f}, [&](Pixel& pixel, float dx, float dy) {
      const float t = dx / (1.05f * who.mouth.width);
      const float thick = 0.085f * (1.0f - 0.75f * t * t);
      const float d = thick - std::abs(dy - 0.12f * t * t);
      if (std::abs(t) < 1.0f) tint(pixel, colour, beard.moustache * smooth_step(-0.02f, 0.04f, d));
    });
  }
}

}  // namespace pfc::face
