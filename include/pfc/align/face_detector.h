#pragma once

#include <filesystem>
#include <memory>
#include <optional>
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
/// distributes them: ONNX, an input of 1 x 3 x height x width, and for strides of 8, 16 and 32 the
/// scores [n, 1], distances to the sides of the box [n, 4] and to the landmarks [n, 10], in
/// strides, in any order. Run by OpenCV.
class FaceDetector {
 public:
  static constexpr double kLeastScore = 0.5;
  static constexpr double kMostOverlap = 0.4;  ///< of two boxes, intersection over union

  /// `size` is that of the network's input, in multiples of its largest stride (32, or 128 with
  /// 15 outputs), where the file leaves it open. Half
  /// the side takes a quarter of the time, and the smallest faces that are found are twice as
  /// large. Without `size` it is the file's own, or 640 x 640. Throws Error where the file cannot
  /// be read, is no such network or takes no input of that size.
  explicit FaceDetector(const std::filesystem::path& onnx,
                        std::optional<ImageSize> size = std::nullopt);
  ~FaceDetector();

  /// The faces of a picture, the surest first. Where none is found, the picture is looked at again
  /// within a border of an eighth of its sides, then of half: a face that fills the picture is
  /// larger than what the network was trained for. Safe from several threads; a call takes one
  /// core. Throws Error where the network fails.
  std::vector<DetectedFace> detect(const RgbImage& picture) const;
  const ImageSize& input_size() const;

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

/// The face that a picture is of: a large one near the middle. (The largest of its box's area less
/// twice the square of its distance from the middle, as the field's tools choose.) `faces` has one
/// at least.
const DetectedFace& main_face(std::span<const DetectedFace> faces, const ImageSize& size);

}  // namespace pfc
