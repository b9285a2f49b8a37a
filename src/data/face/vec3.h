#pragma once

#include <algorithm>
#include <cmath>

namespace pfc::face {

/// A point, a direction, or a colour in linear light.
struct Vec3 {
  float x = 0, y = 0, z = 0;
};
using Rgb = Vec3;

constexpr Vec3 operator+(Vec3 a, Vec3 b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
constexpr Vec3 operator-(Vec3 a, Vec3 b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
constexpr Vec3 operator*(Vec3 a, Vec3 b) {
  return {a.x * b.x, a.y * b.y, a.z * b.z};
}
constexpr Vec3 operator*(Vec3 a, float s) {
  return {a.x * s, a.y * s, a.z * s};
}
constexpr float dot(Vec3 a, Vec3 b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
inline Vec3 normalised(Vec3 a) {
  return a * (1.0f / std::sqrt(std::max(dot(a, a), 1e-12f)));
}

template <class T>
constexpr T mix(T a, T b, float t) {
  return a + (b - a) * t;
}

/// A colour as seen on a screen, 0 to 1, converted to linear light. A square stands for the
/// screen's curve, because the way back then costs only a square root for each pixel.
constexpr Rgb screen(float r, float g, float b) {
  return {r * r, g * g, b * b};
}

constexpr float clamp01(float t) {
  return std::clamp(t, 0.0f, 1.0f);
}
/// 0 below `low`, 1 above `high`, smooth between.
constexpr float smooth_step(float low, float high, float x) {
  const float t = clamp01((x - low) / (high - low));
  return t * t * (3.0f - 2.0f * t);
}
constexpr float square(float x) {
  return x * x;
}
/// 1 at the centre of a disc, 0 from its edge on: (1 - r²)², a bell without an exponential.
constexpr float bell(float r_squared) {
  return square(std::max(0.0f, 1.0f - r_squared));
}

}  // namespace pfc::face
