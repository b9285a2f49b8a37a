#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "pfc/align/align.h"

namespace pfc {

/// A face in a picture, in its pixels.
struct DetectedFace {
  double score = 0;  ///< 0 to 1
  Point min, max;    ///< corners of its box
  Landmarks landmarks = {};
};

/// Finds faces and their landmarks by an SCRFD network (Guo et al., "Sample and computation
/// redistribution for efficient face detection", ICLR 2022) with key points, as InsightFace
/// distributes them: ONNX, an input of 640 x 640, and for strides of 8, 16 and 32 the scores [n,
/// 1], distances to the sides of the box [n, 4] and to the landmarks [n, 10], in strides. Run by
/// OpenCV.
class FaceDetector {
 public:
  static constexpr double kLeastScore = 0.5;
  static constexpr double kMostOverlap = 0.4;  ///< of two boxes, intersection over union

  /// Throws Error where it is no such network.
  explicit FaceDetector(const std::filesystem::path& onnx);
  ~FaceDetector();

  /// The faces of a picture, the surest first. Safe from several threads, which take turns. Throws
  /// Error where the network fails.
  std::vector<DetectedFace> detect(const RgbImage& picture) const;

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

/// The face that a picture is of: a large one near the middle. (The largest of its box's area less
/// twice the square of its distance from the middle, as the field's tools choose.) `faces` has one
/// at least.
const DetectedFace& main_face(std::span<const DetectedFace> faces, const ImageSize& size);

}  // namespace pfc
