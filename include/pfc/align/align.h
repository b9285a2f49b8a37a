#pragma once

#include <array>

#include "pfc/data/image_codec.h"

namespace pfc {

struct Point {
  double x = 0, y = 0;
};

/// Left eye, right eye, nose, left and right corner of the mouth, as seen in the picture; pixels,
/// the centre of the first one at (0, 0).
using Landmarks = std::array<Point, 5>;

/// Where the field puts them in a face of 112 x 112 pixels.
inline constexpr Landmarks kFaceTemplate = {{{38.2946, 51.6963},
                                             {73.5318, 51.5014},
                                             {56.0252, 71.7366},
                                             {41.5493, 92.3655},
                                             {70.7299, 92.2041}}};

/// A map of the plane, (x, y) to (m00 x + m01 y + m02, m10 x + m11 y + m12).
using AffineMap = std::array<std::array<double, 3>, 2>;

/// Throws Error, saying which, where landmarks cannot place a face in a picture of `size`: a number
/// that is not finite, points that coincide or lie on one line, a point that is further outside
/// than half the picture's width or height.
void require_usable(const Landmarks& landmarks, const ImageSize& size);

/// The similarity (rotation, scale, shift) that takes `from` to `to` with the least sum of squared
/// distances (Umeyama, "Least-squares estimation of transformation parameters between two point
/// patterns", PAMI 1991; in the plane it is a quotient of sums).
AffineMap similarity(const Landmarks& from, const Landmarks& to = kFaceTemplate);

/// What that similarity leaves of the squared distances to the template, as a share of the
/// template's own spread: 0 where the landmarks are the template, moved, turned or scaled, 1 where
/// they have nothing of it. Not a number where they coincide.
double misfit(const Landmarks& landmarks);

/// The face of 112 x 112 pixels that the picture becomes under `map`: bilinear, black outside, by
/// OpenCV's warpAffine, as the field does it.
RgbImage warp_face(const RgbImage& picture, const AffineMap& map);

/// The same under `similarity(landmarks)`. Throws what require_usable does.
RgbImage align_face(const RgbImage& picture, const Landmarks& landmarks);

}  // namespace pfc
