#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pfc/align/align.h"

namespace pfc {

/// A face in a picture, in pixels of the picture.
struct DetectedFace {
  double score = 0;  ///< 0 to 1
  Point min, max;    ///< corners of its box
  Landmarks landmarks = {};
};

/// Finds faces and their landmarks with an SCRFD network (Guo et al., "Sample and computation
/// redistribution for efficient face detection", ICLR 2022) with key points, as InsightFace
/// distributes them. The network is an ONNX file, run by OpenCV. Its input is 1 x 3 x height x
/// width. For each of the strides 8, 16 and 32 its outputs are the scores [n, 1], the distances to
/// the sides of the box [n, 4] and those to the landmarks [n, 10], in strides; they may come in any
/// order.
class FaceDetector {
 public:
  static constexpr double kLeastScore = 0.5;
  static constexpr double kMostOverlap = 0.4;  ///< of two boxes, intersection over union

  /// `size` is the size of the network's input if the file leaves it open. It must be a multiple of
  /// the largest stride (32, or 128 with 15 outputs). Half the side takes a quarter of the time,
  /// and the smallest faces that are found are twice as large. Without `size` it is the file's own,
  /// or 640 x 640. Throws Error if the file cannot be read, is not such a network, or does not take
  /// an input of that size.
  explicit FaceDetector(const std::filesystem::path& onnx,
                        std::optional<ImageSize> size = std::nullopt);
  ~FaceDetector();

  /// The faces of a picture, the surest first. If none is found, the picture is tried again with a
  /// border of an eighth of its sides, then of half: a face that fills the picture is larger than
  /// the faces the network was trained on. Safe from several threads; a call uses one core. Throws
  /// Error if the network fails.
  std::vector<DetectedFace> detect(const RgbImage& picture) const;
  const ImageSize& input_size() const;

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

/// The main face of a picture: a large one near the middle. It has the largest value of its box's
/// area minus twice the squared distance from the middle, as in InsightFace's tools. `faces` must
/// not be empty.
const DetectedFace& main_face(std::span<const DetectedFace> faces, const ImageSize& size);

}  // namespace pfc
