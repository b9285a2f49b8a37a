#include "data/face/head_view.h"

namespace pfc::face {
namespace {

using Point = std::complex<float>;

/// The standard template of five landmarks: eyes, nose, corners of the mouth.
constexpr std::array<Point, 5> kTemplate = {Point(38.2946f, 51.6963f), Point(73.5318f, 51.5014f),
                                            Point(56.0252f, 71.7366f), Point(41.5493f, 92.3655f),
                                            Point(70.7299f, 92.2041f)};

/// The ball's bottom stays in place when the head turns; a chin moves with the face.
constexpr float kChinFollows = 0.42f;

float outline(float t, float jaw, float taper) {
  return std::sqrt(1.0f - std::pow(t, jaw)) * (1.0f - taper * smooth_step(0.1f, 0.95f, t));
}

}  // namespace

HeadView::HeadView(const Identity& who, const Conditions& how)
    : width_(who.head.width),
      height_(who.head.height),
      by_width_(1.0f / width_),
      by_height_(1.0f / height_),
      chin_shift_(kChinFollows * std::sin(how.yaw)) {
  const float cy = std::cos(how.yaw), sy = std::sin(how.yaw);
  const float cp = std::cos(how.pitch), sp = std::sin(how.pitch);
  rows_ = {Vec3{cy, 0, sy}, Vec3{-sy * sp, cp, cy * sp}, Vec3{-sy * cp, -sp, cy * cp}};
  for (int i = 0; i < kJawSteps; ++i) {
    const float t = static_cast<float>(i) / kJawSteps;
    jaw_[static_cast<std::size_t>(i)] =
        std::sqrt(1.0f - t * t) / outline(t, who.head.jaw, who.head.taper);
  }
  jaw_[kJawSteps] = jaw_[kJawSteps + 1] = jaw_[kJawSteps - 1];
  align(who, how);
}

/// The least-squares similarity from the landmarks to the template (Umeyama's; one division in
/// complex numbers), then the error that alignment leaves.
void HeadView::align(const Identity& who, const Conditions& how) {
  const std::array<Point, 5> landmarks = {
      project(-who.eyes.spacing, who.eyes.level, 0), project(who.eyes.spacing, who.eyes.level, 0),
      project(0, who.nose.tip, who.nose.lift), project(-who.mouth.width, who.mouth.level, 0),
      project(who.mouth.width, who.mouth.level, 0)};
  Point from, to;
  for (std::size_t i = 0; i < 5; ++i) {
    from += landmarks[i] / 5.0f;
    to += kTemplate[i] / 5.0f;
  }
  Point product;
  float power = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    product += std::conj(landmarks[i] - from) * (kTemplate[i] - to);
    power += std::norm(landmarks[i] - from);
  }
  turn_ = product / power * std::polar(how.zoom, how.roll);
  origin_ = to + Point(how.shift_x, how.shift_y) - turn_ * from;
  turn_back_ = 1.0f / turn_;
  scale_ = std::abs(turn_);
}

Point HeadView::plane(int x, int y) const {
  return (Point(static_cast<float>(x), static_cast<float>(y)) - origin_) * turn_back_;
}

Box HeadView::box(Point centre, float reach_x, float reach_y) const {
  const Point middle = pixel(centre);
  // Room for the jaw, which widens, for a turn, which shears, and for an edge, which is a pixel
  // wide.
  const auto right = static_cast<int>(scale_ * (1.15f * reach_x + 0.2f * reach_y)) + 2;
  const auto down = static_cast<int>(scale_ * (1.15f * reach_y + 0.2f * reach_x)) + 2;
  const auto px = static_cast<int>(middle.real()), py = static_cast<int>(middle.imag());
  return {px - right, py - down, px + right + 1, py + down + 1};
}

Point HeadView::project(float x, float y, float lift) const {
  const float u = x / width_, v = y / height_;
  const Vec3 ball = turned({u, v, std::sqrt(std::max(0.0f, 1.0f - u * u - v * v)) + lift});
  const float follow = ball.y > 0 ? chin_shift_ * ball.y * ball.y : 0.0f;
  return {ball.x * width_ / jaw(ball.y) + follow, ball.y * height_};
}

Vec3 HeadView::parallax(float lift) const {
  const Vec3 to_viewer = rows_[2];
  return Vec3{-to_viewer.x, -to_viewer.y, 0} * (lift / std::max(to_viewer.z, 0.4f));
}

Vec3 HeadView::turned(Vec3 v) const {
  return {dot(rows_[0], v), dot(rows_[1], v), dot(rows_[2], v)};
}

}  // namespace pfc::face
