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

/// All pairs of a row and a column, but those that each row excludes, are impostors.
struct ImpostorPairs {
  struct Range {
    std::int64_t begin = 0, end = 0;
  };

  at::Tensor rows, columns;     ///< unit vectors [n, d] and [m, d], float32
  std::vector<Range> excluded;  ///< [n] columns that are no impostors of a row, or empty: none

  std::int64_t count() const;
};

/// The most that a product of two unit vectors of `dim` ≤ 2,048 float32 values is away from their
/// exact score, in whatever order a GEMM adds up: (dim + 1)·2⁻²⁴.
double gemm_error(std::int64_t dim);

/// How many scores lie in each of the bins that ImpostorScores counts in.
std::vector<std::int64_t> score_histogram(std::span<const double> scores);

struct ScoredPair {
  double score = 0;
  std::int64_t row = 0, column = 0;
};

struct ImpostorOptions {
  std::size_t most_candidates = std::size_t{1} << 26;  ///< scores that are sorted in memory
  /// Called in the first pass with the blocks that are behind us and their number.
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
  /// Called in the first pass with every block of scores, from several threads at once; may be
  /// empty.
  std::function<void(int thread, const ScoreBlock& block)> visit = {};
};

/// The impostor scores of sets of pairs, which are too many to be stored: a histogram of all of
/// them, by one pass of blocked GEMMs, and from it and further passes over the few blocks that
/// matter any score by its rank, exactly. The blocks are shared over the ranks; all call everything
/// together and get the same.
///
/// A score is the float64 dot product of two float32 unit vectors. GEMMs compute it in float32, to
/// within gemm_error, which is enough to say about where a rank's score lies; what lies within that
/// of an end of such an interval is computed again in float64, and that alone decides. So nothing
/// depends on what two GEMMs of the same vectors have in their last bits.
class ImpostorScores {
 public:
  static constexpr std::int64_t kBins = 1 << 14;  ///< of [−1, 1]
  static constexpr std::size_t kHardest = kHardestPairs;

  /// `sets` must outlive this. Throws Error for vectors of more than 2,048 values.
  ImpostorScores(std::span<const ImpostorPairs> sets, Communicator& comm,
                 ImpostorOptions options = {});
  ~ImpostorScores();
  ImpostorScores(const ImpostorScores&) = delete;
  ImpostorScores& operator=(const ImpostorScores&) = delete;

  /// How many scores of a set, as GEMMs give them, fall into each bin [kBins].
  std::span<const std::int64_t> histogram(std::size_t set) const;
  /// The highest scores of a set, descending.
  std::span<const ScoredPair> hardest(std::size_t set) const;

  /// The genuine and impostor pairs of some sets together, and the false accept rates that are
  /// asked for.
  struct Question {
    std::vector<std::size_t> sets;
    std::span<const double> genuine;  ///< scores, ascending
    double far = 0;
    std::int64_t rejected = 0;  ///< impostor pairs besides, which no threshold accepts
  };
  std::vector<AcceptRate> answer(std::span<const Question> questions) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
