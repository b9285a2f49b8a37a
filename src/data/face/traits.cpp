#include "data/face/traits.h"

#include <span>

#include "pfc/base/random.h"

namespace pfc::face {
namespace {

/// Draws one number after another from the counters (a, b), (a, b + 1), …
class Dice {
 public:
  Dice(std::uint64_t seed, RandomStream stream, std::int64_t a, std::int64_t b)
      : random_(seed, stream),
        a_(static_cast<std::uint64_t>(a)),
        b_(static_cast<std::uint64_t>(b) << 32) {}

  float uniform(float low, float high) { return mix(low, high, unit(random_.words(a_, b_++)[0])); }
  bool chance(float probability) { return uniform(0, 1) < probability; }
  /// Close to a normal distribution, but never more than 3.5 deviations from the mean.
  float normal(float mean, float deviation) {
    float sum = 0;
    for (const std::uint32_t word : random_.words(a_, b_++)) sum += unit(word);
    constexpr float kDeviationOfSum = 0.57735f;  // √(4/12)
    return mean + deviation * (sum - 2.0f) / kDeviationOfSum;
  }
  /// A colour between grey (`vivid` 0) and any (1).
  Rgb colour(float low, float high, float vivid) {
    const float grey = uniform(low, high);
    const auto channel = [&] { return mix(grey, uniform(low, high), vivid); };
    const float r = channel(), g = channel(), b = channel();
    return screen(r, g, b);
  }

 private:
  static float unit(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

  CounterRandom random_;
  std::uint64_t a_, b_;
};

/// The colour at `t` in [0, 1] of a palette.
Rgb between(std::span<const Rgb> palette, float t) {
  const float at = clamp01(t) * static_cast<float>(palette.size() - 1);
  const auto i = std::min(static_cast<std::size_t>(at), palette.size() - 2);
  return mix(palette[i], palette[i + 1], at - static_cast<float>(i));
}

constexpr Rgb kSkins[] = {screen(.99f, .86f, .77f), screen(.95f, .77f, .64f),
                          screen(.85f, .64f, .49f), screen(.68f, .47f, .33f),
                          screen(.45f, .29f, .21f)};
constexpr Rgb kHairs[] = {screen(.10f, .09f, .10f), screen(.20f, .13f, .10f),
                          screen(.36f, .22f, .13f), screen(.55f, .27f, .13f),
                          screen(.72f, .52f, .28f), screen(.90f, .76f, .48f)};
constexpr Rgb kIrises[] = {screen(.25f, .14f, .08f), screen(.42f, .26f, .12f),
                           screen(.45f, .42f, .20f), screen(.30f, .48f, .36f),
                           screen(.32f, .50f, .68f), screen(.50f, .58f, .64f)};
constexpr Rgb kRims[] = {screen(.08f, .08f, .09f), screen(.30f, .17f, .10f),
                         screen(.55f, .42f, .22f), screen(.45f, .10f, .12f),
                         screen(.15f, .22f, .40f)};

void draw_head(Dice& dice, float rugged, Identity& who) {
  who.head.width = dice.normal(0.99f, 0.05f);
  who.head.height = dice.normal(1.33f, 0.045f);
  who.head.jaw = std::max(1.9f, dice.normal(2.25f + 0.5f * rugged, 0.32f));
  who.head.taper = dice.uniform(0.02f, 0.27f - 0.08f * rugged);
  who.head.cheekbones = dice.uniform(0.0f, 0.05f);
  who.head.chin = dice.uniform(0.01f, 0.06f);
  who.head.ears = dice.normal(0.22f, 0.025f);
}

/// Returns the skin tone, 0 light to 1 dark; hair and eyes are drawn to match it.
float draw_skin(Dice& dice, Identity& who) {
  const float tone = dice.uniform(0, 1);
  who.skin.colour = between(kSkins, tone);
  who.skin.colour.x *= dice.uniform(0.95f, 1.05f);
  who.skin.colour.z *= dice.uniform(0.88f, 1.1f);
  who.skin.blush = dice.uniform(0.05f, 0.5f) * (1.0f - 0.6f * tone);
  who.skin.gloss = dice.uniform(0.03f, 0.12f);
  return tone;
}

void draw_eyes(Dice& dice, float rugged, float tone, Identity& who) {
  who.eyes.spacing = dice.normal(0.42f, 0.03f);
  who.eyes.level = dice.normal(-0.06f, 0.035f);
  who.eyes.width = dice.normal(0.205f, 0.02f);
  who.eyes.upper = dice.normal(0.115f, 0.022f);
  who.eyes.lower = dice.normal(0.068f, 0.012f);
  who.eyes.tilt = dice.normal(-0.06f, 0.08f);
  who.eyes.iris = between(kIrises, std::max(0.0f, dice.uniform(-0.2f, 1.0f) - 0.8f * tone));
  who.eyes.iris_radius = dice.normal(0.112f, 0.009f);
  who.eyes.lashes = dice.uniform(0, 1) * (1.0f - 0.7f * rugged);
  who.eyes.crease = dice.uniform(0, 0.6f);
  who.eyes.depth = dice.uniform(0.0f, 0.06f);
}

void draw_brows(Dice& dice, float rugged, Identity& who) {
  who.brows.height = dice.normal(0.245f, 0.038f) - 0.03f * rugged;
  who.brows.length = dice.normal(0.25f, 0.032f);
  who.brows.thickness = std::max(0.018f, dice.normal(0.032f + 0.018f * rugged, 0.012f));
  who.brows.arch = dice.uniform(0.0f, 0.11f);
  who.brows.tilt = dice.normal(0.06f, 0.08f);
  who.brows.density = dice.uniform(0.55f, 0.95f);
}

void draw_nose(Dice& dice, float rugged, Identity& who) {
  who.nose.tip = dice.normal(0.40f, 0.05f);
  who.nose.width = dice.normal(0.175f + 0.02f * rugged, 0.032f);
  who.nose.bridge = dice.normal(0.085f, 0.014f);
  who.nose.lift = dice.normal(0.26f, 0.04f);
  who.nose.bulb = dice.normal(0.115f, 0.014f);
}

void draw_mouth(Dice& dice, float rugged, Identity& who) {
  who.mouth.level = dice.normal(0.855f, 0.042f);
  who.mouth.width = dice.normal(0.34f, 0.045f);
  who.mouth.upper = dice.normal(0.065f, 0.018f) - 0.012f * rugged;
  who.mouth.lower = dice.normal(0.090f, 0.022f) - 0.012f * rugged;
  who.mouth.bow = dice.uniform(0.05f, 0.45f);
  who.mouth.curl = dice.normal(0.05f, 0.12f);
  const float paint = square(dice.uniform(0, 1)) * (1.0f - rugged);
  const Rgb natural = who.skin.colour * screen(.93f, .70f, .68f);
  who.mouth.lips =
      mix(natural, screen(dice.uniform(.6f, .85f), .16f, dice.uniform(.16f, .36f)), paint);
}

Rgb draw_hair_colour(Dice& dice, float tone) {
  if (dice.chance(0.08f)) return screen(.70f, .69f, .68f) * dice.uniform(0.4f, 1.2f);  // grey
  if (dice.chance(0.03f)) return dice.colour(0.15f, 0.8f, 1.0f);                       // dyed
  return between(kHairs, dice.uniform(-0.1f, 1.05f - 0.75f * tone));
}

void draw_hair(Dice& dice, float rugged, float tone, Identity& who) {
  auto& hair = who.hair;
  hair.bald = dice.chance(0.10f * rugged);
  hair.colour = draw_hair_colour(dice, tone);
  hair.line = dice.normal(-0.74f, 0.07f);
  hair.peak = dice.chance(0.3f) ? dice.uniform(0.0f, 0.14f) : 0.0f;
  hair.part = dice.uniform(-0.7f, 0.7f);
  hair.sweep = dice.uniform(0.0f, 0.35f);
  hair.jags = 0;
  if (dice.chance(0.45f - 0.2f * rugged)) {  // a fringe
    hair.line = dice.uniform(-0.62f, -0.40f);
    hair.sweep = dice.uniform(-0.25f, 0.1f);
    hair.jags = dice.uniform(0.03f, 0.13f);
  }
  hair.volume = dice.uniform(0.05f, 0.17f);
  hair.sides = dice.uniform(-0.35f, 0.25f);
  hair.length = -1;
  hair.flare = dice.uniform(-0.05f, 0.2f);
  hair.waves = dice.chance(0.5f) ? dice.uniform(0.0f, 0.06f) : 0.0f;
  hair.curl = dice.chance(0.1f + 0.25f * tone) ? dice.uniform(0.3f, 0.9f) : 0.0f;
  if (hair.curl > 0) hair.volume += dice.uniform(0.0f, 0.1f);
  if (dice.chance(0.75f - 0.7f * rugged)) {
    hair.length = dice.uniform(0.3f, 2.0f);
    hair.sides = 0.3f;  // as far down as the hair beside the head begins
  }
  for (float& strand : hair.strands) strand = dice.uniform(-1, 1);
}

void draw_beard(Dice& dice, float rugged, Identity& who) {
  const bool bearded = rugged > 0.5f && dice.chance(0.55f);
  who.beard.density = bearded ? dice.uniform(0.1f, 0.9f) : 0.0f;
  who.beard.moustache = rugged > 0.5f && dice.chance(0.5f) ? dice.uniform(0.2f, 0.95f) : 0.0f;
  who.beard.line = dice.normal(0.55f, 0.08f);
}

void draw_glasses(Dice& dice, Identity& who) {
  who.glasses.worn = dice.chance(0.22f);
  who.glasses.width = dice.uniform(0.27f, 0.35f);
  who.glasses.height = dice.uniform(0.18f, 0.29f);
  who.glasses.roundness = dice.uniform(0.2f, 1.0f);
  who.glasses.rim = dice.uniform(0.014f, 0.035f);
  who.glasses.colour = between(kRims, dice.uniform(0, 1));
}

void draw_marks(Dice& dice, Identity& who) {
  const bool freckled = dice.chance(0.2f), mole = dice.chance(0.35f);
  for (Mark& mark : who.marks) {
    mark = {dice.normal(0.0f, 0.33f), dice.normal(0.25f, 0.08f), dice.uniform(0.02f, 0.035f),
            freckled ? dice.uniform(0.1f, 0.4f) : 0.0f};
  }
  if (mole) {
    who.marks[0] = {dice.uniform(-0.6f, 0.6f), dice.uniform(0.1f, 1.05f),
                    dice.uniform(0.022f, 0.036f), 0.75f};
  }
}

void draw_pose(Dice& dice, Conditions& how) {
  how.yaw = dice.normal(0.0f, 0.20f);
  how.pitch = dice.normal(0.02f, 0.10f);
  how.roll = dice.normal(0.0f, 0.04f);
  how.zoom = dice.uniform(0.87f, 0.95f);
  how.shift_x = dice.normal(0.0f, 1.0f);
  how.shift_y = dice.normal(1.0f, 1.0f);
}

void draw_expression(Dice& dice, Conditions& how) {
  how.smile = dice.normal(0.6f, 0.5f);
  how.open = std::max(0.0f, dice.normal(0.0f, 0.45f));
  how.squint = dice.chance(0.04f) ? 0.12f : dice.uniform(0.72f, 1.1f);
  how.brow_raise = dice.normal(0.0f, 0.03f);
  how.frown = dice.normal(0.0f, 0.05f);
  how.gaze_x = dice.normal(0.0f, 0.3f);
  how.gaze_y = dice.normal(0.0f, 0.2f);
}

void draw_light(Dice& dice, Conditions& how) {
  how.light = normalised({dice.normal(0.0f, 0.55f), dice.normal(-0.45f, 0.35f), 1.0f});
  const float warmth = dice.normal(0.0f, 0.13f), tint = dice.normal(0.0f, 0.05f);
  how.key = Rgb{1.0f + warmth, 1.0f + tint, 1.0f - warmth} * dice.uniform(0.55f, 1.0f);
  const float sky = dice.normal(0.0f, 0.08f);
  how.ambient = Rgb{1.0f - sky, 1.0f, 1.0f + sky} * dice.uniform(0.22f, 0.5f);
}

void draw_backdrop(Dice& dice, Conditions& how) {
  how.backdrop_low = dice.colour(0.2f, 0.95f, 0.55f);
  how.backdrop_high =
      mix(how.backdrop_low, dice.colour(0.2f, 0.95f, 0.55f), dice.uniform(0.2f, 0.8f));
  how.backdrop_spot = dice.colour(0.4f, 1.0f, 0.6f);
  how.backdrop_slope = dice.uniform(-1, 1);
  for (Mark& spot : how.spots) {
    spot = {dice.uniform(-1.3f, 1.3f), dice.uniform(-1.4f, 1.4f), dice.uniform(0.36f, 1.08f),
            dice.uniform(0.0f, 0.8f)};
  }
  how.clothes = dice.colour(0.08f, 0.9f, 0.8f);
}

void draw_occluder(Dice& dice, Conditions& how) {
  const float kind = dice.uniform(0, 1);
  how.occluder = kind < 0.04f   ? Occluder::kMask
                 : kind < 0.08f ? Occluder::kSunglasses
                 : kind < 0.12f ? Occluder::kHand
                 : kind < 0.16f ? Occluder::kCap
                                : Occluder::kNone;
  how.occluder_colour = dice.colour(0.1f, 0.9f, 0.7f);
  how.occluder_x = dice.uniform(-0.8f, 0.8f);
  how.occluder_y = dice.uniform(0.2f, 1.1f);
  how.occluder_angle = dice.uniform(-0.6f, 0.6f);
}

void draw_camera(Dice& dice, Conditions& how) {
  how.blur = dice.chance(0.35f) ? dice.uniform(0.0f, 0.8f) : 0.0f;
  how.exposure = dice.uniform(0.72f, 1.3f);
  how.saturation = dice.chance(0.05f) ? 0.0f : dice.uniform(0.6f, 1.1f);
  how.noise = square(dice.uniform(0.1f, 1.0f)) * 0.038f;
}

}  // namespace

Identity draw_identity(std::uint64_t seed, std::int64_t identity) {
  Dice dice(seed, RandomStream::kFaceIdentity, identity, 0);
  Identity who{};
  // One number moves face shape, hair, beard and brows together; this makes faces more pleasant.
  const float rugged = dice.uniform(0, 1);
  const float tone = draw_skin(dice, who);
  draw_head(dice, rugged, who);
  draw_eyes(dice, rugged, tone, who);
  draw_brows(dice, rugged, who);
  draw_nose(dice, rugged, who);
  draw_mouth(dice, rugged, who);
  draw_hair(dice, rugged, tone, who);
  draw_beard(dice, rugged, who);
  draw_glasses(dice, who);
  draw_marks(dice, who);
  return who;
}

Conditions draw_conditions(std::uint64_t seed, std::int64_t identity, std::int64_t image) {
  Dice dice(seed, RandomStream::kFaceImage, identity, image);
  Conditions how{};
  draw_pose(dice, how);
  draw_expression(dice, how);
  draw_light(dice, how);
  draw_backdrop(dice, how);
  draw_occluder(dice, how);
  draw_camera(dice, how);
  return how;
}

}  // namespace pfc::face
