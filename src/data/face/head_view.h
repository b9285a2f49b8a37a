#pragma once

#include <array>
#include <complex>

#include "data/face/canvas.h"
#include "data/face/traits.h"

namespace pfc::face {

/// What a ray meets.
struct Hit {
  float inside = 0;  ///< head units from the outline, negative outside
  Vec3 normal;       ///< in the viewer's directions
  Vec3 head;         ///< the point, in the head's directions
};

/// Where the head is seen: a ball that is turned by yaw and pitch, stretched to the head's axes,
/// given a jaw, looked at from far away, and aligned by the field's five landmarks as crops of
/// photographs are.
class HeadView {
 public:
  HeadView(const Identity& who, const Conditions& how);

  /// Pixels a head unit.
  float scale() const { return scale_; }
  /// The point of the viewer's plane, in head units, at a pixel's centre.
  std::complex<float> plane(int x, int y) const;
  /// Where a point of the viewer's plane lies in the image.
  std::complex<float> pixel(std::complex<float> plane) const { return origin_ + turn_ * plane; }
  /// The pixels that a feature of the head reaches.
  Box box(float x, float y, float reach_x, float reach_y) const;
  /// Looks at the head, or at a shell that is larger by the factor `size`.
  Hit look(float x, float y, float size) const;
  /// Where the point (x, y) of the face, `lift` above it, is seen in the viewer's plane.
  std::complex<float> project(float x, float y, float lift) const;
  /// Where a point of the face that is `lift` above it hides what is behind: (x, y, 0) farther on.
  Vec3 parallax(float lift) const;
  /// A direction of the head in the viewer's directions.
  Vec3 turned(Vec3 v) const;
  /// Coverage of a pixel that lies `distance` head units inside an edge.
  float coverage(float distance) const { return clamp01(distance * scale_ + 0.5f); }

 private:
  static constexpr int kJawSteps = 64;

  Vec3 turned_back(Vec3 v) const;
  float jaw(float t) const;
  void align(const Identity& who, const Conditions& how);

  float width_, height_, chin_shift_;
  std::array<Vec3, 3> rows_;              ///< the rotation from the head to the viewer
  std::array<float, kJawSteps + 2> jaw_;  ///< width of the outline as a share of an ellipse's
  std::complex<float> origin_, turn_, turn_back_;  ///< pixel = origin + turn * point of the plane
  float scale_;
};

}  // namespace pfc::face
