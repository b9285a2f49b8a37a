#include "pfc/align/align.h"

#include <cmath>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

Point mean_of(const Landmarks& points) {
  Point mean;
  for (const Point& point : points) {
    mean.x += point.x / static_cast<double>(points.size());
    mean.y += point.y / static_cast<double>(points.size());
  }
  return mean;
}

/// Mean squared distances of the points from their mean: along the line that fits them best, and
/// across it.
struct Spread {
  double along = 0, across = 0;
};

Spread spread_of(const Landmarks& points) {
  const Point mean = mean_of(points);
  double xx = 0, xy = 0, yy = 0;
  for (const Point& point : points) {
    const double x = point.x - mean.x, y = point.y - mean.y;
    xx += x * x / static_cast<double>(points.size());
    xy += x * y / static_cast<double>(points.size());
    yy += y * y / static_cast<double>(points.size());
  }
  const double middle = (xx + yy) / 2, half = std::hypot((xx - yy) / 2, xy);
  return {middle + half, middle - half};
}

std::string text(const Point& point) {
  return format("(%.1f, %.1f)", point.x, point.y);
}

}  // namespace

void require_usable(const Landmarks& landmarks, const ImageSize& size) {
  for (const Point& point : landmarks) {
    if (!std::isfinite(point.x) || !std::isfinite(point.y))
      throw Error("landmark " + text(point) + " is not finite");
    const double width = size.width, height = size.height;
    if (point.x < -width / 2 || point.x > 1.5 * width || point.y < -height / 2 ||
        point.y > 1.5 * height) {
      throw Error("landmark " + text(point) + " lies outside of the picture of " +
                  std::to_string(size.width) + " x " + std::to_string(size.height));
    }
  }
  constexpr double kLeastSpread = 1.0;  // pixels; a face of 3 or 4 pixels
  constexpr double kLeastRatio = 0.02;  // of a face; the template has 0.7
  const Spread spread = spread_of(landmarks);
  if (std::sqrt(spread.along) < kLeastSpread) throw Error("the landmarks coincide");
  if (spread.across < kLeastRatio * kLeastRatio * spread.along)
    throw Error("the landmarks lie on one line");
}

AffineMap similarity(const Landmarks& from, const Landmarks& to) {
  const Point from_mean = mean_of(from), to_mean = mean_of(to);
  double along = 0, across = 0, squares = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const double x = from[i].x - from_mean.x, y = from[i].y - from_mean.y;
    const double u = to[i].x - to_mean.x, v = to[i].y - to_mean.y;
    along += x * u + y * v;
    across += x * v - y * u;
    squares += x * x + y * y;
  }
  const double a = along / squares, b = across / squares;  // scale times cosine and sine
  return {{{a, -b, to_mean.x - a * from_mean.x + b * from_mean.y},
           {b, a, to_mean.y - b * from_mean.x - a * from_mean.y}}};
}

double misfit(const Landmarks& landmarks) {
  const AffineMap map = similarity(landmarks);
  const Point mean = mean_of(kFaceTemplate);
  double left = 0, whole = 0;
  for (std::size_t i = 0; i < landmarks.size(); ++i) {
    const Point& from = landmarks[i];
    const Point& to = kFaceTemplate[i];
    left += std::pow(map[0][0] * from.x + map[0][1] * from.y + map[0][2] - to.x, 2) +
            std::pow(map[1][0] * from.x + map[1][1] * from.y + map[1][2] - to.y, 2);
    whole += std::pow(to.x - mean.x, 2) + std::pow(to.y - mean.y, 2);
  }
  return left / whole;
}

Landmarks face_template(int size) {
  Landmarks points = kFaceTemplate;
  const double scale = static_cast<double>(size) / kFaceSize;
  for (Point& point : points) point = {point.x * scale, point.y * scale};
  return points;
}

RgbImage warp_face(const RgbImage& picture, const AffineMap& map, int size) {
  const cv::Mat matrix =
      (cv::Mat_<double>(2, 3) << map[0][0], map[0][1], map[0][2], map[1][0], map[1][1], map[1][2]);
  const cv::Mat from(picture.height, picture.width, CV_8UC3,
                     const_cast<std::uint8_t*>(picture.pixels.data()));
  const auto side = static_cast<std::size_t>(size);
  RgbImage face{size, size, std::vector<std::uint8_t>(3 * side * side)};
  cv::Mat to(size, size, CV_8UC3, face.pixels.data());
  cv::warpAffine(from, to, matrix, to.size(), cv::INTER_LINEAR, cv::BORDER_CONSTANT);
  return face;
}

RgbImage align_face(const RgbImage& picture, const Landmarks& landmarks, int size) {
  require_usable(landmarks, {picture.width, picture.height});
  return warp_face(picture, similarity(landmarks, face_template(size)), size);
}

}  // namespace pfc
