#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pfc/base/progress.h"
#include "pfc/comm/communicator.h"
#include "pfc/data/verification_set.h"
#include "pfc/eval/verification.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The verification sets of a run, and the best result so far on the first of them.
class Evaluation {
 public:
  /// Opens them and looks at every image, so that what is wrong with a set is known before a run
  /// begins: throws DataError where an image has no face or the pairs cannot be judged
  /// (require_pairs). All ranks call it together.
  Evaluation(const std::vector<std::string>& paths, Communicator& comm);

  /// Evaluates rank 0's network on every set. All ranks embed, each its share; the results are the
  /// first rank's, empty on the others. `progress` gets a note of each.
  const std::vector<VerificationResult>& run(Backbone& backbone, std::int64_t step,
                                             ProgressLine& progress, Communicator& comm);
  /// Whether the last run was the best so far on the first set; false on other ranks than the
  /// first.
  bool is_best() const { return is_best_; }
  /// The best accuracy so far, and the fingerprint of the set that it was measured on, the first
  /// one; -1: none was measured.
  double best() const { return best_; }
  std::uint64_t best_on() const { return best_on_; }
  /// Goes on from a best accuracy that was measured before, on the set of this fingerprint (0: an
  /// older run's, which did not note it). Returns false where the first set is another one now, so
  /// that there is no best yet.
  bool resume(double best, std::uint64_t measured_on);

  /// The ROC curves of the last run, where there are any.
  void write_roc(const std::filesystem::path& path) const;

 private:
  std::vector<VerificationSet> sets_;
  std::vector<VerificationResult> results_;
  double best_ = -1;
  std::uint64_t best_on_ = 0;
  bool is_best_ = false;
};

}  // namespace pfc
