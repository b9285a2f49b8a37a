#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "pfc/eval/verification.h"
#include "pfc/train/event_file.h"

namespace pfc {

/// What a run reports of its steps since its last report.
struct TrainMetrics {
  std::int64_t step = 0;     ///< steps done
  double epoch = 0;          ///< epochs done
  double loss = 0;           ///< mean over the steps since the last report
  double lr = 0;             ///< of the last step
  double gradient_norm = 0;  ///< of the backbone, of the last step, before clipping
  double images_per_second = 0;
  double data_wait = 0;      ///< share of the time spent waiting for images
  std::int64_t corrupt = 0;  ///< images that did not decode, so far
};

/// What a run reports of a checkpoint.
struct SavedCheckpoint {
  double seconds = 0;  ///< that training waited for it
  std::int64_t bytes = 0;
};

/// What a run reports, in two files of its folder: `metrics.jsonl`, a JSON object a line with the
/// `step` it belongs to, and a TensorBoard event file. Both hold it when the call returns.
class MetricsLog {
 public:
  /// Of a run that goes on after `step`, where it is not 0: what was written before stays, but for
  /// what belongs to later steps and for the evaluation after this one, which come again. Else
  /// replaces a metrics.jsonl that stood there. Throws Error where a file cannot be written.
  explicit MetricsLog(const std::filesystem::path& folder, std::int64_t step = 0);

  void write(const TrainMetrics& metrics);
  void write(std::int64_t step, const VerificationResult& result);
  void write(std::int64_t step, const SavedCheckpoint& saved);

 private:
  void write_line(const std::string& line);

  std::filesystem::path path_;
  std::ofstream out_;
  EventFile events_;
};

}  // namespace pfc
