#pragma once

#include <array>

#include "pfc/data/image_codec.h"

namespace pfc {

struct Point {
  double x = 0, y = 0;
};

/// Left eye, right eye, nose, left and right corner of the mouth, as seen in the picture. In
/// pixels; the centre of the first pixel is at (0, 0).
using Landmarks = std::array<Point, 5>;

/// The standard places of the landmarks in an aligned face of 112 x 112 pixels (InsightFace's
/// template).
inline constexpr Landmarks kFaceTemplate = {{{38.2946, 51.6963},
                                             {73.5318, 51.5014},
                                             {56.0252, 71.7366},
                                             {41.5493, 92.3655},
                                             {70.7299, 92.2041}}};

/// The places in an aligned face of `size` x `size` pixels: all coordinates times size / 112, as
/// InsightFace scales them.
Landmarks face_template(int size);

/// A map of the plane, (x, y) to (m00 x + m01 y + m02, m10 x + m11 y + m12).
using AffineMap = std::array<std::array<double, 3>, 2>;

/// Throws Error, with the reason, if landmarks cannot place a face in a picture of `size`: a number
/// that is not finite, points that coincide or lie on one line, or a point that lies outside the
/// picture by more than half its width or height.
void require_usable(const Landmarks& landmarks, const ImageSize& size);

/// The similarity (rotation, scale, shift) that maps `from` to `to` with the least sum of squared
/// distances (Umeyama, "Least-squares estimation of transformation parameters between two point
/// patterns", PAMI 1991; in the plane it is a quotient of sums).
AffineMap similarity(const Landmarks& from, const Landmarks& to = kFaceTemplate);

/// How badly that similarity fits: the squared distances to the template that remain, as a share of
/// the template's own spread. 0 if the landmarks are the template, moved, turned or scaled; 1 if
/// they have nothing in common with it. NaN if they coincide.
double misfit(const Landmarks& landmarks);

/// The face of `size` x `size` pixels that `map` makes of the picture: bilinear, black outside,
/// with OpenCV's warpAffine, as InsightFace's tools do it.
RgbImage warp_face(const RgbImage& picture, const AffineMap& map, int size = kFaceSize);

/// The same with `similarity(landmarks, face_template(size))`. Throws what require_usable throws.
RgbImage align_face(const RgbImage& picture, const Landmarks& landmarks, int size = kFaceSize);

}  // namespace pfc
