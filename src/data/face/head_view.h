#pragma once

#include <array>
#include <complex>

#include "data/face/canvas.h"
#include "data/face/traits.h"

namespace pfc::face {

/// What a ray hits.
struct Hit {
  float inside = 0;  ///< head units from the outline, negative outside
  Vec3 normal;       ///< in the viewer's directions
  Vec3 head;         ///< the point, in the head's directions
};

/// The head's geometry: a ball that is turned by yaw and pitch, stretched to the head's axes and
/// given a jaw. It is seen from far away, and aligned by five landmarks like a crop of a
/// photograph.
class HeadView {
 public:
  HeadView(const Identity& who, const Conditions& how);

  /// Pixels for each head unit.
  float scale() const { return scale_; }
  /// The point of the viewer's plane, in head units, at a pixel's centre.
  std::complex<float> plane(int x, int y) const;
  /// How far that point moves from one pixel to the next on the right.
  std::complex<float> plane_step() const { return turn_back_; }
  /// Where a point of the viewer's plane lies in the image.
  std::complex<float> pixel(std::complex<float> plane) const { return origin_ + turn_ * plane; }
  /// The pixels around a point of the viewer's plane.
  Box box(std::complex<float> centre, float reach_x, float reach_y) const;
  /// Looks at the head, or at a shell that is larger by the factor `size`. Far outside, only
  /// `inside` is set.
  Hit look(float x, float y, float size) const;
  /// Where the point (x, y) of the face, raised by `lift`, appears in the viewer's plane.
  std::complex<float> project(float x, float y, float lift) const;
  /// How far to the side the middle of the face appears. Things that hang from the head or carry it
  /// move part of the way.
  float aside() const { return project(0, 0, 0).real(); }
  /// A raised point of the face hides what is behind it: the offset (x, y, 0) of the hidden point.
  Vec3 parallax(float lift) const;
  /// A direction of the head in the viewer's directions.
  Vec3 turned(Vec3 v) const;
  /// Coverage of a pixel that lies `distance` head units inside an edge.
  float coverage(float distance) const { return clamp01(distance * scale_ + 0.5f); }

 private:
  static constexpr int kJawSteps = 64;

  Vec3 turned_back(Vec3 v) const { return rows_[0] * v.x + rows_[1] * v.y + rows_[2] * v.z; }
  /// The factor by which the jaw narrows a width at y = t of the ball.
  float jaw(float t) const {
    if (t <= 0) return 1;
    const float at = std::min(t, 1.0f) * kJawSteps;
    const auto i = static_cast<std::size_t>(static_cast<int>(at));
    return mix(jaw_[i], jaw_[i + 1], at - static_cast<float>(static_cast<int>(i)));
  }
  void align(const Identity& who, const Conditions& how);

  float width_, height_, by_width_, by_height_, chin_shift_;
  std::array<Vec3, 3> rows_;              ///< the rotation from the head to the viewer
  std::array<float, kJawSteps + 2> jaw_;  ///< width of an ellipse as a share of the outline's
  std::complex<float> origin_, turn_, turn_back_;  ///< pixel = origin + turn * point of the plane
  float scale_;
};

// Inline here, because every pixel looks at the head and at its hair.
inline Hit HeadView::look(float x, float y, float size) const {
  constexpr float kFar =
      1.5f;  // anything drawn near the outline, such as a shadow, ends before this
  const float shrink = 1.0f / size;
  const float t = y * by_height_ * shrink;
  const float follow = t > 0 ? chin_shift_ * t * t : 0.0f;
  const float s = (x - follow) * by_width_ * shrink * jaw(t);
  const float r_squared = s * s + t * t;
  if (r_squared > kFar) return {.inside = -size, .normal = {}, .head = {}};
  const float r = std::sqrt(r_squared);
  const Vec3 ball = r < 1 ? Vec3{s, t, std::sqrt(1.0f - r_squared)} : Vec3{s / r, t / r, 0};
  const Vec3 head = turned_back(ball);
  return {.inside = (1.0f - r) * size * 1.1f,
          .normal = {ball.x, ball.y * 0.8f, ball.z},
          .head = {head.x * width_, head.y * height_, head.z}};
}

}  // namespace pfc::face
