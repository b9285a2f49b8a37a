#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pfc/eval/roc.h"

namespace pfc {

class VerificationSet;

/// What a network made of a verification set: P pairs of images, pair i being rows 2i and 2i + 1.
struct PairEmbeddings {
  std::string set;                 ///< the set's name, for messages and results
  std::int64_t dim = 0;            ///< d
  std::vector<float> originals;    ///< [2P, d] embeddings of the images
  std::vector<float> mirrored;     ///< [2P, d] and of the images flipped left to right
  std::vector<std::uint8_t> same;  ///< [P] 1 for a pair of one person, else 0
};

/// The field's verification protocol (LFW's ten folds, as the public face recognition frameworks
/// run it). An image is its original's plus its mirror's embedding, L2-normalised (a sum of zero
/// stays zero); a pair is judged by the squared Euclidean distance, "same" where it is strictly
/// below a threshold.
struct VerificationResult {
  static constexpr int kFolds = 10;

  std::string set;
  /// Each fold judged at the threshold, of 0.00, 0.01 … 3.99, with the best accuracy on the other
  /// nine (the first one on a tie). Folds are contiguous parts in file order whose sizes differ by
  /// at most one, the larger ones first.
  std::array<double, kFolds> fold_accuracies{};
  double accuracy = 0;            ///< their mean
  double accuracy_deviation = 0;  ///< their standard deviation (population)
  double best_threshold = 0;      ///< of the same grid, for all pairs together: the one to use
  double xnorm = 0;               ///< mean norm of all embeddings, originals and mirrors

  /// Each fold's TAR at the threshold whose FAR on the other nine is 1e-3: linear between the last
  /// of 0.000, 0.001 … 3.999 with a FAR of at most that and the next one; 0 where the FAR is never
  /// reached. Folds without a genuine pair (for `val_far`: an impostor pair) are left out.
  double val = 0;            ///< the mean
  double val_deviation = 0;  ///< the standard deviation (population)
  double val_far = 0;        ///< mean FAR of the folds at those thresholds

  std::vector<double> scores = {};                   ///< [P] −distance
  std::vector<std::uint8_t> same = {};               ///< [P]
  Roc roc;                                           ///< of all pairs; the score is −distance
  std::array<OperatingPoint, 4> operating_points{};  ///< at FAR 1e-1, 1e-2, 1e-3, 1e-4
  double area = 0;                                   ///< under the curve
  double equal_error_rate = 0;

  std::int64_t pairs() const { return roc.genuine() + roc.impostors(); }
};

/// For the start of long work, what `verify` would find at its end: throws DataError for fewer
/// pairs than folds and where all pairs are of one kind.
void require_pairs(const VerificationSet& set);

/// Throws DataError for an embedding that is not finite (naming the first image), for fewer pairs
/// than folds and where all pairs are of one kind; Error where sizes do not fit each other.
VerificationResult verify(const PairEmbeddings& embeddings);

/// A JSON array, an object a set.
std::string to_json(std::span<const VerificationResult> results);

}  // namespace pfc
