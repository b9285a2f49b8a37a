#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/eval/accept_rate.h"
#include "pfc/eval/roc.h"

namespace pfc {

struct ScoreBlock;

/// Every pair of a row and a column is an impostor pair, except the columns that the row excludes.
struct ImpostorPairs {
  struct Range {
    std::int64_t begin = 0, end = 0;
  };

  at::Tensor rows, columns;     ///< unit vectors [n, d] and [m, d], float32
  std::vector<Range> excluded;  ///< [n] columns that are not impostors of a row; empty: none

  std::int64_t count() const;
};

/// How far a float32 product of two unit vectors of `dim` ≤ 2,048 values may lie from their exact
/// score, in whatever order a GEMM adds up: (dim + 1)·2⁻²⁴.
double gemm_error(std::int64_t dim);

/// How many scores fall into each of ImpostorScores' bins.
std::vector<std::int64_t> score_histogram(std::span<const double> scores);

struct ScoredPair {
  double score = 0;
  std::int64_t row = 0, column = 0;
};

struct ImpostorOptions {
  std::size_t most_candidates = std::size_t{1} << 26;  ///< how many scores may be sorted in memory
  /// Called in the first pass with the number of finished blocks and the number of all blocks.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
  /// Called in the first pass with every block of scores, from several threads at once; may be
  /// empty.
  std::function<void(int thread, const ScoreBlock& block)> visit = {};
};

/// The impostor scores of sets of pairs that are too many to be stored. One pass of blocked GEMMs
/// counts all of them into a histogram. From it, and from further passes over the few blocks that
/// matter, any score is found by its rank, exactly. The blocks are shared over the ranks. All ranks
/// call everything together and get the same result.
///
/// A score is the float64 dot product of two float32 unit vectors. GEMMs compute it in float32,
/// with an error of at most gemm_error. That is enough to find an interval that contains the wanted
/// score. A product within that error of an end of the interval is computed again in float64, and
/// only the float64 value decides. So the result does not depend on the last bits, in which two
/// GEMMs of the same vectors may differ.
class ImpostorScores {
 public:
  static constexpr std::int64_t kBins = 1 << 14;  ///< of [−1, 1]
  static constexpr std::size_t kHardest = kHardestPairs;

  /// `sets` must outlive this object. Throws Error for vectors of more than 2,048 values.
  ImpostorScores(std::span<const ImpostorPairs> sets, Communicator& comm,
                 ImpostorOptions options = {});
  ~ImpostorScores();
  ImpostorScores(const ImpostorScores&) = delete;
  ImpostorScores& operator=(const ImpostorScores&) = delete;

  /// How many of a set's scores, as GEMMs give them, fall into each bin [kBins].
  std::span<const std::int64_t> histogram(std::size_t set) const;
  /// The highest scores of a set, descending.
  std::span<const ScoredPair> hardest(std::size_t set) const;

  /// The genuine and impostor pairs of some sets together, and the wanted false accept rate.
  struct Question {
    std::vector<std::size_t> sets;
    std::span<const double> genuine;  ///< scores, ascending
    double far = 0;
    std::int64_t rejected = 0;  ///< further impostor pairs, which no threshold accepts
  };
  std::vector<AcceptRate> answer(std::span<const Question> questions) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
