// Everything that is not a feature of the face: the background, the body, the skin.
#include "data/face/paint.h"

namespace pfc::face {
namespace {

void paint_ear(const Scene& scene, float side) {
  const Identity& who = scene.who;
  const float radius = who.head.ears;
  const auto centre = scene.view.project(side * 0.995f * who.head.width, 0.13f, 0);
  const Rgb shade = who.skin.colour * screen(.72f, .58f, .55f);
  const float width = 0.62f * radius, height = 1.25f * radius;
  scene.canvas.each(scene.view.box(centre, 1.2f * width, 1.2f * height), [&](Pixel& pixel) {
    const float dx = (pixel.x - centre.real()) / width;
    const float dy = (pixel.y - centre.imag()) / height;
    const float r = std::sqrt(dx * dx + dy * dy);
    if (r > 1.2f) return;
    const float alpha = scene.view.coverage((1.0f - r) * 0.7f * radius);
    cover(pixel, who.skin.colour, {side * 0.3f + 0.4f * dx, 0.4f * dy, 0.8f}, who.skin.gloss,
          alpha);
    tint(pixel, shade, alpha * (smooth_step(0.7f, 1.0f, r) * 0.5f + 0.75f * bell(3.0f * r * r)));
  });
}

void paint_skin(const Scene& scene) {
  const Identity& who = scene.who;
  scene.canvas.each({}, [&](Pixel& pixel) {
    const Hit hit = scene.view.look(pixel.x, pixel.y, 1.0f);
    const float alpha = scene.view.coverage(hit.inside);
    if (alpha <= 0) return;
    cover(pixel, who.skin.colour, hit.normal, who.skin.gloss, alpha);
    darken(pixel, alpha * ink(hit.normal));
    // A pixel of the outline also shows what is behind it: features skip it, and hair beside the
    // head covers it.
    if (alpha == 1) pixel.head = hit.head;
  });
}

}  // namespace

void paint_backdrop(const Scene& scene) {
  const Conditions& how = scene.how;
  for (int y = 0; y < kFaceSize; ++y) {
    auto point = scene.view.plane(0, y);
    scene.canvas.each({.top = y, .bottom = y + 1}, [&](Pixel& pixel) {
      pixel.x = point.real();
      pixel.y = point.imag();
      point += scene.view.plane_step();
      const float t = clamp01(0.5f + 0.35f * (how.backdrop_slope * pixel.x + pixel.y));
      pixel.colour = mix(how.backdrop_high, how.backdrop_low, t);
      for (const Mark& spot : how.spots) {
        const float r2 = square(pixel.x - spot.x) + square(pixel.y - spot.y);
        if (r2 < square(spot.radius)) {
          tint(pixel, how.backdrop_spot, spot.darkness * bell(r2 / square(spot.radius)));
        }
      }
    });
  }
}

void paint_body(const Scene& scene) {
  const Identity& who = scene.who;
  const float neck_x = 0.2f * scene.view.aside();
  const float half = 0.58f * who.head.width;
  const float collar = who.head.height + 0.12f;
  scene.canvas.each({.top = kFaceSize / 2}, [&](Pixel& pixel) {
    const float dx = pixel.x - neck_x;
    const float s = dx / half;
    const float neck = scene.view.coverage((1.0f - std::abs(s)) * half);
    if (pixel.y > 0.3f && neck > 0) {
      cover(pixel, who.skin.colour * 0.62f, {s, -0.1f, 1.0f - 0.7f * std::abs(s)}, 0, neck);
    }
    const float shoulder = collar + 0.25f * std::max(0.0f, std::abs(s) - 0.8f) -
                           0.12f * std::max(0.0f, 1.0f - std::abs(s));
    const float cloth = scene.view.coverage(pixel.y - shoulder);
    if (cloth > 0) cover(pixel, scene.how.clothes, {0.4f * s, -0.35f, 0.9f}, 0, cloth);
  });
}

void paint_head(const Scene& scene) {
  const Identity& who = scene.who;
  for (const float side : {-1.0f, 1.0f}) paint_ear(scene, side);
  paint_skin(scene);
  const Rgb blush = who.skin.colour * screen(1.02f, .70f, .68f);
  for (const float side : {-1.0f, 1.0f}) {
    const float smile = std::max(0.0f, scene.how.smile);
    emboss(scene, {side * 0.55f, 0.38f, 0.36f, 0.3f}, who.head.cheekbones + 0.04f * smile);
    glow(scene, {side * 0.58f, 0.42f, 0.34f, 0.28f}, blush, who.skin.blush);
  }
  emboss(scene, {0, who.head.height * 0.9f, 0.3f, 0.2f}, who.head.chin);
  emboss(scene, {0, -0.6f, 0.6f, 0.4f}, 0.06f);
  for (const Mark& mark : who.marks) {
    if (mark.darkness <= 0) continue;
    glow(scene, {mark.x, mark.y, mark.radius * 1.5f, mark.radius * 1.5f},
         who.skin.colour * screen(.55f, .42f, .36f), mark.darkness);
  }
}

void emboss(const Scene& scene, const Patch& patch, float height) {
  const float by_x = 1.0f / square(patch.reach_x), by_y = 1.0f / square(patch.reach_y);
  scene.near(patch, [&](Pixel& pixel, float dx, float dy) {
    const float q = 1.0f - dx * dx * by_x - dy * dy * by_y;
    if (q <= 0) return;
    // Minus the gradient of height * q².
    const float slope = 4.0f * height * q;
    pixel.normal = pixel.normal + scene.view.turned({slope * dx * by_x, slope * dy * by_y, 0});
  });
}

void glow(const Scene& scene, const Patch& patch, Rgb colour, float alpha) {
  const float by_x = 1.0f / square(patch.reach_x), by_y = 1.0f / square(patch.reach_y);
  scene.near(patch, [&](Pixel& pixel, float dx, float dy) {
    tint(pixel, colour, alpha * bell(dx * dx * by_x + dy * dy * by_y));
  });
}

}  // namespace pfc::face
