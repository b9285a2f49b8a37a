#include "data/face/paint.h"

namespace pfc::face {
namespace {

constexpr Rgb kLash = screen(.12f, .08f, .08f);
constexpr Rgb kWhite = screen(.90f, .88f, .87f);

/// The opening of an eye, in its own coordinates: dx towards the temple, upright by its tilt.
struct Lids {
  float upper, lower;  ///< y of the lids at dx
};

Lids lids(const Identity& who, float openness, float dx) {
  const float t = dx / who.eyes.width;
  const float arc = std::max(0.0f, 1.0f - t * t);
  // Like an almond: fullest towards the nose above and towards the temple below.
  return {-who.eyes.upper * openness * arc * (1.0f - 0.15f * t),
          who.eyes.lower * (0.35f + 0.65f * openness) * arc * (1.0f + 0.25f * t)};
}

void paint_ball(const Scene& scene, Pixel& pixel, float dx, float dy, float open, float shade) {
  const Identity& who = scene.who;
  const float radius = who.eyes.iris_radius;
  const float r = std::sqrt(dx * dx + dy * dy);
  Rgb colour = kWhite;
  const float iris = scene.view.coverage(radius - r);
  const float ring = smooth_step(0.65f, 1.0f, r / radius);
  const Rgb lit = who.eyes.iris * (0.75f + 0.5f * clamp01(0.5f + dy / radius));
  colour = mix(colour, mix(lit, lit * 0.25f, ring), iris);
  colour = mix(colour, screen(.05f, .04f, .05f), scene.view.coverage(0.44f * radius - r));
  const float glint_x = dx - 0.35f * radius * scene.how.light.x - 0.1f * radius;
  const float glint_y = dy + 0.4f * radius;
  const float glint =
      scene.view.coverage(0.24f * radius - std::sqrt(square(glint_x) + square(glint_y)));
  colour = mix(colour * shade, screen(1, 1, 1), 0.9f * glint);
  cover(pixel, colour, {0, -0.15f, 1}, 0.1f, open);
}

/// Lines of the lids and the lashes; `t` is 0 at the middle of the eye and 1 at the temple's
/// corner.
void paint_lids(const Scene& scene, Pixel& pixel, const Lids& lid, float t, float y) {
  const auto& eyes = scene.who.eyes;
  const Rgb crease = scene.who.skin.colour * screen(.62f, .50f, .47f);
  const auto stroke = [&](Rgb colour, float alpha, float half_width, float from_middle) {
    tint(pixel, colour, alpha * scene.view.coverage(half_width - std::abs(from_middle)));
  };
  if (std::abs(t) < 1.0f) {
    const float line = 0.013f + 0.014f * eyes.lashes + 0.008f * t;
    stroke(kLash, 0.95f, line, y - lid.upper + 0.3f * line);
    stroke(crease, 0.5f, 0.008f, y - lid.lower);
  }
  if (t * t < 1.2f) stroke(crease, eyes.crease, 0.012f, y - lid.upper + 0.055f - 0.04f * t * t);
  const bool past_the_corner = t > 0.85f && t < 1.25f;
  if (past_the_corner) stroke(kLash, eyes.lashes, 0.014f, y + 0.18f * (t - 0.8f));
}

void paint_eye(const Scene& scene, float side) {
  const Identity& who = scene.who;
  const Conditions& how = scene.how;
  const float x = side * who.eyes.spacing, y = who.eyes.level;
  const float width = who.eyes.width;
  const Rgb socket = who.skin.colour * screen(.80f, .68f, .66f);
  glow(scene, {x, y - 0.05f, 1.7f * width, 1.5f * width}, socket, 0.35f + 5.0f * who.eyes.depth);
  emboss(scene, {x - side * 0.08f, y - 0.08f, 1.6f * width, 1.3f * width}, -who.eyes.depth);

  const float gaze_x = 0.3f * width * how.gaze_x, gaze_y = 0.2f * width * how.gaze_y;
  scene.near({x, y, 1.5f * width, 1.3f * width}, [&](Pixel& pixel, float dx, float dy) {
    const float out = side * dx;
    const float upright = dy - who.eyes.tilt * out;
    const Lids lid = lids(who, how.squint, out);
    const float t2 = square(out / width);
    const float below_upper = upright - lid.upper;
    const float open =
        scene.view.coverage(std::min(below_upper, lid.lower - upright)) * (t2 < 1.0f ? 1.0f : 0.0f);
    if (open > 0) {
      const float shade = 0.55f + 0.45f * smooth_step(0.0f, 0.09f, below_upper);
      paint_ball(scene, pixel, dx - gaze_x, upright + 0.02f - gaze_y, open, shade);
    }
    paint_lids(scene, pixel, lid, out / width, upright);
  });
}

void paint_brow(const Scene& scene, float side) {
  const auto& brows = scene.who.brows;
  const Conditions& how = scene.how;
  const float x = side * (scene.who.eyes.spacing + 0.01f);
  const float y = scene.who.eyes.level - brows.height - how.brow_raise;
  const Rgb colour = scene.who.hair.colour * 0.55f;
  scene.near({x, y, 1.3f * brows.length, 0.25f}, [&](Pixel& pixel, float dx, float dy) {
    const float t = side * dx / brows.length;  // -1 at the nose, 1 at the temple
    if (std::abs(t) > 1.0f) return;
    const float middle = -brows.arch * (1.0f - 0.7f * square(t - 0.2f)) +
                         brows.tilt * t * brows.length - how.frown * t * 0.5f;
    const float thick = brows.thickness * (1.0f - 0.65f * smooth_step(0.1f, 1.0f, t)) *
                        smooth_step(-1.08f, -0.75f, t);
    tint(pixel, colour, brows.density * scene.view.coverage(thick - std::abs(dy - middle)));
  });
}

constexpr float kGlassesLift = 0.12f;
constexpr Vec3 kRimNormal{0, -0.3f, 1};

/// Distance in head units from a lens's edge, positive inside. The shape lies between an ellipse
/// and |x|⁴ + |y|⁴, which is nearly a rectangle.
float inside_lens(const Identity& who, float dx, float dy) {
  const auto& glasses = who.glasses;
  const float u2 = square(dx / glasses.width), v2 = square(dy / glasses.height);
  const float round = std::sqrt(u2 + v2);
  const float boxy = std::sqrt(std::sqrt(u2 * u2 + v2 * v2));
  return (1.0f - mix(boxy, round, glasses.roundness)) * glasses.height;
}

void paint_lens(const Scene& scene, float side) {
  const auto& glasses = scene.who.glasses;
  const bool dark = scene.how.occluder == Occluder::kSunglasses;
  const Patch patch{side * scene.who.eyes.spacing, scene.who.eyes.level + 0.03f,
                    1.3f * glasses.width, 1.3f * glasses.height, kGlassesLift};
  scene.near(patch, [&](Pixel& pixel, float dx, float dy) {
    const float inside = inside_lens(scene.who, dx, dy);
    const float lens = scene.view.coverage(inside);
    if (dark) cover(pixel, scene.how.occluder_colour * 0.12f, {0, -0.4f, 1}, 0.5f, lens);
    const float shine = bell(square((dx + dy * 0.6f + 0.1f) / 0.1f));
    tint(pixel, screen(1, 1, 1), 0.16f * lens * shine);
    const float rim = scene.view.coverage(glasses.rim - std::abs(inside));
    cover(pixel, glasses.colour, kRimNormal, 0.4f, rim);
  });
}

void paint_bridge(const Scene& scene) {
  const auto& glasses = scene.who.glasses;
  // Wide lenses in front of narrow eyes would meet.
  const float half = std::max(0.03f, scene.who.eyes.spacing - glasses.width);
  const Patch patch{0, scene.who.eyes.level - 0.01f, half + 0.05f, 0.1f, 1.2f * kGlassesLift};
  scene.near(patch, [&](Pixel& pixel, float dx, float dy) {
    if (std::abs(dx) > half + 0.02f) return;
    const float from_bow = dy - 0.06f * square(dx / half);
    const float bow = scene.view.coverage(glasses.rim - std::abs(from_bow));
    cover(pixel, glasses.colour, kRimNormal, 0.4f, bow);
  });
}

}  // namespace

void paint_eyes(const Scene& scene) {
  for (const float side : {-1.0f, 1.0f}) paint_eye(scene, side);
}

void paint_brows(const Scene& scene) {
  for (const float side : {-1.0f, 1.0f}) paint_brow(scene, side);
}

void paint_nose(const Scene& scene) {
  const auto& nose = scene.who.nose;
  const Rgb shade = scene.who.skin.colour * screen(.66f, .52f, .49f);
  const Rgb light = scene.who.skin.colour * 1.25f;
  const float root = scene.who.eyes.level - 0.02f;
  const float length = nose.tip - root;

  // The ridge rises towards the tip: three bumps, each farther from the skin.
  for (const float t : {0.2f, 0.5f, 0.8f}) {
    emboss(
        scene,
        {0, root + t * length, nose.bridge * (1.1f + 0.5f * t), 0.45f * length, nose.lift * t * t},
        0.035f + 0.045f * t);
  }
  emboss(scene, {0, nose.tip, 1.35f * nose.bulb, 1.2f * nose.bulb, nose.lift}, 0.10f);
  for (const float side : {-1.0f, 1.0f}) {
    const float x = side * 0.68f * nose.width, y = nose.tip + 0.04f;
    emboss(scene, {x, y, 0.55f * nose.width, 0.085f, 0.5f * nose.lift}, 0.045f);
    glow(scene,
         {side * 0.42f * nose.width, y + 0.055f, 0.34f * nose.width, 0.045f, 0.65f * nose.lift},
         shade * 0.25f, 0.95f);
    glow(scene, {side * 1.02f * nose.width, y + 0.01f, 0.05f, 0.10f, 0.4f * nose.lift}, shade,
         0.75f);
  }
  glow(scene, {0, nose.tip + 0.11f, 1.1f * nose.width, 0.06f, 0.6f * nose.lift}, shade, 0.6f);
  glow(scene, {0, nose.tip - 0.03f, 0.5f * nose.bulb, 0.4f * nose.bulb, nose.lift}, light, 0.55f);
}

void paint_mouth(const Scene& scene) {
  const auto& mouth = scene.who.mouth;
  const Conditions& how = scene.how;
  const float width = mouth.width * (1.0f + 0.12f * how.smile - 0.08f * how.open);
  const float lift_of_corners = mouth.curl * 0.1f + 0.10f * how.smile;
  const float gap = 0.14f * how.open;
  const Rgb line = mouth.lips * screen(.55f, .42f, .42f);
  const Rgb inside = screen(.30f, .08f, .09f), teeth = screen(.94f, .93f, .90f);

  emboss(scene, {0, mouth.level, 1.2f * width, 0.24f}, 0.05f);
  glow(scene, {0, mouth.level + gap + mouth.lower + 0.07f, 0.6f * width, 0.07f},
       scene.who.skin.colour * screen(.70f, .58f, .55f), 0.65f);
  scene.near({0, mouth.level, width, 0.2f + gap}, [&](Pixel& pixel, float dx, float dy) {
    const float t = dx / width, t2 = t * t;
    if (t2 >= 1.0f) return;
    const float arc = 1.0f - t2;
    const float seam = dy - lift_of_corners * (0.3f - t2);
    const float top = -gap * arc, bottom = gap * arc;
    const float cupid = 1.0f - mouth.bow * bell(t2 / 0.06f);
    const float lips = scene.view.coverage(std::min(seam - top + mouth.upper * arc * cupid,
                                                    bottom + mouth.lower * std::sqrt(arc) - seam));
    const float lower = scene.view.coverage(seam);
    tint(pixel, mouth.lips * mix(0.78f, 1.0f, lower), lips);
    pixel.normal = pixel.normal + Vec3{0, lips * (seam - 0.5f * mouth.lower) * 3.0f, 0};
    pixel.gloss = mix(pixel.gloss, 0.15f, lips * lower);
    const float open = scene.view.coverage(std::min(seam - top, bottom - seam));
    if (gap > 0.015f) {
      const float tooth = scene.view.coverage(top + 0.75f * gap * arc + 0.02f - seam);
      tint(pixel, mix(inside, teeth, tooth), open);
    }
    tint(pixel, line, 0.8f * scene.view.coverage(0.012f - std::abs(seam - top)));
  });
}

void paint_glasses(const Scene& scene) {
  if (!scene.who.glasses.worn && scene.how.occluder != Occluder::kSunglasses) return;
  for (const float side : {-1.0f, 1.0f}) paint_lens(scene, side);
  paint_bridge(scene);
}

}  // namespace pfc::face
