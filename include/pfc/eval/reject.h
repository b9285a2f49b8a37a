#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "pfc/eval/roc.h"

namespace pfc {

/// What is left of a verification set if the images with the shortest embeddings are rejected, and
/// with each of them its pair.
struct RejectPoint {
  double images = 0;                                  ///< the share of the images that is rejected
  double length = 0;                                  ///< of the shortest embedding that is left
  std::int64_t genuine = 0, impostors = 0;            ///< pairs that are left
  std::int64_t false_rejects = 0, false_accepts = 0;  ///< of these

  /// The share of the genuine pairs that are refused: 1 − TAR.
  double fnmr() const { return static_cast<double>(false_rejects) / static_cast<double>(genuine); }
  double far() const {
    return impostors == 0 ? 0 : static_cast<double>(false_accepts) / static_cast<double>(impostors);
  }
};

/// Errors as a function of the share of rejected images (Grother and Tabassi, "Performance of
/// Biometric Quality Measures", PAMI 2007). The threshold stays that of all pairs.
struct RejectCurve {
  static constexpr double kFar = 1e-3;

  OperatingPoint at;  ///< of all pairs at kFar
  double end = 0;     ///< a share of the images
  /// One for each image that is rejected, beginning with none; images of equal length are rejected
  /// together.
  std::vector<RejectPoint> points;

  /// With as many images rejected as possible, but not more than this share.
  const RejectPoint& after(double share) const;
  /// At each tenth of the curve, for a table. Of equal ones the first.
  std::vector<RejectPoint> rows() const;
};

/// scores [P] and same [P] as for Roc; lengths [2P]: those of pair i's embeddings are at 2i and
/// 2i + 1. The curve ends at `most`, from 0 to below 1, or where no genuine pair is left.
RejectCurve reject_curve(std::span<const double> scores, std::span<const std::uint8_t> same,
                         std::span<const double> lengths, double most);

}  // namespace pfc
