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
#include "pfc/train/run_state.h"

namespace pfc {

/// The verification sets of a run, and the best result so far on the first of them.
class Evaluation {
 public:
  /// Opens the sets and checks every image, so that an error in a set is known before a run begins:
  /// throws DataError if an image has no face or the pairs cannot be judged (require_pairs). All
  /// ranks call it together.
  Evaluation(const std::vector<std::string>& paths, Communicator& comm);

  /// Evaluates rank 0's network on every set. All ranks embed, each its share. The results are on
  /// the first rank; they are empty on the others. `progress` gets a note of each.
  const std::vector<VerificationResult>& run(Backbone& backbone, std::int64_t step,
                                             ProgressLine& progress, Communicator& comm);
  /// Whether the last run was the best so far on the first set; always false on ranks other than
  /// the first.
  bool is_best() const { return is_best_; }
  /// Lets checkpoints keep the best accuracy and the set on which it was measured.
  void add_to(RunState& state);
  /// What was added to a state may have been loaded. If it was measured on another set than the
  /// first one now, there is no best yet: returns whether there was one that no longer counts.
  /// Older runs did not note the set, but how it was called: `same_name` says whether that has
  /// changed.
  bool drop_best_of_another_set(bool same_name);

  /// Writes the ROC curves of the last run, if there are any.
  void write_roc(const std::filesystem::path& path) const;

 private:
  std::vector<VerificationSet> sets_;
  std::vector<VerificationResult> results_;
  std::int64_t first_set_ = 0;  ///< fingerprint of the first set; 0: there is none
  double best_ = -1;            ///< best accuracy so far; -1: none was measured
  std::int64_t best_on_ = 0;    ///< fingerprint of its set; 0: unknown
  bool is_best_ = false;
};

}  // namespace pfc
