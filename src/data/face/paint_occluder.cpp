#include "data/face/paint.h"

namespace pfc::face {
namespace {

/// Three fingers that lie over the face, or an edge of something near the camera.
void paint_hand(const Scene& scene) {
  const Conditions& how = scene.how;
  const float c = std::cos(how.occluder_angle), s = std::sin(how.occluder_angle);
  const bool skin = how.occluder_x > 0;
  const Rgb colour = skin ? scene.who.skin.colour * 0.9f : how.occluder_colour;
  constexpr float kFinger = 0.115f;
  scene.canvas.each({}, [&](Pixel& pixel) {
    const float dx = pixel.x - how.occluder_x, dy = pixel.y - how.occluder_y;
    const float u = c * dx + s * dy, v = -s * dx + c * dy;  // v along the fingers
    const float column = std::clamp(std::round(u / (2 * kFinger)), -1.0f, 1.0f);
    const float across = (u - column * 2 * kFinger) / kFinger;
    const float tip = 0.10f * std::abs(column);
    const float past = std::max(0.0f, tip + kFinger - v) / kFinger;
    const float r = std::sqrt(across * across + past * past);
    const float alpha = scene.view.coverage((1.0f - r) * kFinger);
    if (alpha <= 0) return;
    const float shade = 1.0f - 0.35f * square(across);
    cover(pixel, colour * shade, {0.5f * across, -0.4f * past, 0.9f}, 0.03f, alpha);
    pixel.head.z = -1;
  });
}

void paint_cap(const Scene& scene) {
  const Rgb cloth = scene.how.occluder_colour;
  scene.canvas.each({.bottom = kFaceSize * 2 / 3}, [&](Pixel& pixel) {
    const Hit hit = scene.view.look(pixel.x, pixel.y, 1.1f + 0.8f * scene.who.hair.volume);
    const float brim = -0.50f + 0.10f * square(hit.head.x);
    const float alpha = scene.view.coverage(std::min(hit.inside, brim - hit.head.y));
    if (alpha <= 0) return;
    const float band = smooth_step(0.16f, 0.18f, brim - hit.head.y);
    cover(pixel, cloth * (mix(0.6f, 1.0f, band) * (1.0f - ink(hit.normal))), hit.normal, 0, alpha);
    pixel.head.z = -1;
  });
}

}  // namespace

void paint_mask(const Scene& scene) {
  if (scene.how.occluder != Occluder::kMask) return;
  const Rgb cloth = mix(scene.how.occluder_colour, screen(.80f, .88f, .93f), 0.6f);
  const float bottom = scene.who.head.height * 0.97f;
  scene.canvas.each({.top = kFaceSize / 3}, [&](Pixel& pixel) {
    const Hit hit = scene.view.look(pixel.x, pixel.y, 1.03f);
    if (hit.inside < -0.1f || hit.head.z < 0.1f) return;
    const float top = 0.24f + 0.16f * square(hit.head.x) - 0.06f * bell(square(hit.head.x / 0.25f));
    const float alpha =
        scene.view.coverage(std::min({hit.inside, hit.head.y - top, bottom - hit.head.y}));
    const float pleat = 0.06f * std::abs(std::fmod(hit.head.y * 6.0f, 1.0f) - 0.5f);
    // The shape of the nose shows half through.
    const Vec3 normal = mix(pixel.normal, hit.normal, 0.5f);
    cover(pixel, cloth * ((0.95f + pleat) * (1.0f - ink(hit.normal))), normal, 0, alpha);
  });
}

void paint_occluder(const Scene& scene) {
  switch (scene.how.occluder) {
    case Occluder::kNone:
    case Occluder::kMask:        // has a layer of its own, behind the hair
    case Occluder::kSunglasses:  // painted with the glasses
      return;
    case Occluder::kHand:
      return paint_hand(scene);
    case Occluder::kCap:
      return paint_cap(scene);
  }
}

}  // namespace pfc::face
