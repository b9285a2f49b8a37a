#pragma once

#include <array>
#include <cstdint>

#include "data/face/vec3.h"

namespace pfc::face {

// Lengths are in units of about half a head's width; x to the viewer's right, y down, z to the
// viewer, from the middle of the head. Eyes are about 0.42 to the sides.

/// A freckle or a mole.
struct Mark {
  float x = 0, y = 0, radius = 0, darkness = 0;
};

/// What belongs to a person and is the same in all of their images.
struct Identity {
  struct {
    float width, height;  ///< half-axes
    float jaw;            ///< exponent of the lower outline: 2 an ellipse, above 2 squarer
    float taper;          ///< the share of its width that the outline loses towards the chin
    float cheekbones, chin;
    float ears;
  } head;
  struct {
    Rgb colour;
    float blush, gloss;
  } skin;
  struct {
    float spacing, level;  ///< of the centres: x is ±spacing
    float width, upper, lower, tilt;
    Rgb iris;
    float iris_radius;
    float lashes, crease, depth;
  } eyes;
  struct {
    float height, length, thickness, arch, tilt, density;
  } brows;
  struct {
    float tip, width, bridge, lift, bulb;
  } nose;
  struct {
    float level, width, upper, lower, bow, curl;
    Rgb lips;
  } mouth;
  struct {
    bool bald;
    Rgb colour;
    float line, peak, part,
        sweep;            ///< the hair line: height, widow's peak, parting, fall to the sides
    float jags;           ///< of a fringe
    float volume, sides;  ///< thickness; how far down it covers the temples
    float length;         ///< the y to which long hair falls; above the ears it is short
    float flare, waves, curl;
    std::array<float, 64> strands;  ///< brightness across the strands, -1 to 1
  } hair;
  struct {
    float density, moustache, line;
  } beard;
  struct {
    bool worn;
    float width, height, roundness, rim;
    Rgb colour;
  } glasses;
  std::array<Mark, 14> marks;  ///< unused marks have no darkness
};

enum class Occluder { kNone, kMask, kSunglasses, kHand, kCap };

/// What belongs to one image.
struct Conditions {
  float yaw, pitch;                    ///< radians; right and down are positive
  float roll, zoom, shift_x, shift_y;  ///< errors left by alignment: radians, a factor, pixels
  float smile, open, squint, brow_raise, frown, gaze_x, gaze_y;
  Vec3 light;  ///< a unit vector to the key light
  Rgb key, ambient;
  Rgb backdrop_low, backdrop_high, backdrop_spot, clothes;
  float backdrop_slope;
  std::array<Mark, 3> spots;  ///< out of focus behind the head
  Occluder occluder;
  Rgb occluder_colour;
  float occluder_x, occluder_y, occluder_angle;
  float blur, exposure, saturation, noise;
};

Identity draw_identity(std::uint64_t seed, std::int64_t identity);
Conditions draw_conditions(std::uint64_t seed, std::int64_t identity, std::int64_t image);

}  // namespace pfc::face
