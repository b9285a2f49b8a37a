#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pfc/eval/reject.h"
#include "pfc/eval/roc.h"

namespace pfc {

class VerificationSet;

/// A network's embeddings of a verification set: P pairs of images; pair i is rows 2i and 2i + 1.
struct PairEmbeddings {
  std::string set;                 ///< the set's name, for messages and results
  std::int64_t dim = 0;            ///< d
  std::vector<float> originals;    ///< [2P, d] embeddings of the images
  std::vector<float> mirrored;     ///< [2P, d] and of the images flipped left to right
  std::vector<std::uint8_t> same;  ///< [P] 1 for a pair of one person, otherwise 0
};

/// The verification protocol with LFW's ten folds, as public face recognition frameworks run it. An
/// image is represented by its own embedding plus that of its mirror image, L2-normalised (a sum of
/// zero stays zero). A pair is judged by the squared Euclidean distance: it is "same" if that is
/// strictly below a threshold.
struct VerificationResult {
  static constexpr int kFolds = 10;

  std::string set;
  /// The accuracy of each fold, at the threshold of 0.00, 0.01 … 3.99 that has the best accuracy on
  /// the other nine (the first one on a tie). Folds are contiguous parts in file order. Their sizes
  /// differ by at most one; the larger ones come first.
  std::array<double, kFolds> fold_accuracies{};
  double accuracy = 0;            ///< their mean
  double accuracy_deviation = 0;  ///< their standard deviation (population)
  double best_threshold =
      0;             ///< the best threshold of the same grid for all pairs together; use this one
  double xnorm = 0;  ///< mean norm of all embeddings, originals and mirrors

  /// The TAR of each fold, at the threshold whose FAR on the other nine is 1e-3. That threshold is
  /// interpolated linearly between the last of 0.000, 0.001 … 3.999 whose FAR is at most 1e-3 and
  /// the next one; it is 0 if that FAR is never reached. Folds without a genuine pair (for
  /// `val_far`: without an impostor pair) are left out.
  double val = 0;            ///< the mean over folds
  double val_deviation = 0;  ///< the standard deviation (population)
  double val_far = 0;        ///< mean FAR of the folds at those thresholds

  std::vector<double> scores = {};      ///< [P] −distance
  std::vector<std::uint8_t> same = {};  ///< [P]
  /// [2P] of the mean of an image's two embeddings; a score of the image's quality.
  std::vector<double> lengths = {};
  Roc roc;                                           ///< of all pairs; the score is −distance
  std::array<OperatingPoint, 4> operating_points{};  ///< at FAR 1e-1, 1e-2, 1e-3, 1e-4
  double area = 0;                                   ///< under the curve
  double equal_error_rate = 0;
  std::optional<RejectCurve> reject = {};  ///< where it was asked for

  std::int64_t pairs() const { return roc.genuine() + roc.impostors(); }
};

/// For the start of long work: finds what `verify` would find only at its end. Throws DataError if
/// there are fewer pairs than folds, or if all pairs are of one kind.
void require_pairs(const VerificationSet& set);

/// Throws DataError for an embedding that is not finite (naming the first image), for fewer pairs
/// than folds, and if all pairs are of one kind. Throws Error if the sizes do not fit each other.
/// With `reject`, a share of the images, the result has `reject` up to there.
VerificationResult verify(const PairEmbeddings& embeddings,
                          std::optional<double> reject = std::nullopt);

/// A JSON array with one object for each set.
std::string to_json(std::span<const VerificationResult> results);

}  // namespace pfc
