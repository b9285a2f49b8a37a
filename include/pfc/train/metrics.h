#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "pfc/eval/verification.h"
#include "pfc/train/event_file.h"

namespace pfc {

/// A report on the steps since the last report.
struct TrainMetrics {
  std::int64_t step = 0;     ///< steps done
  double epoch = 0;          ///< epochs done
  double loss = 0;           ///< mean over the steps since the last report
  double lr = 0;             ///< of the last step
  double sample_rate = 0;    ///< of the last step
  double gradient_norm = 0;  ///< of the backbone, of the last step, before clipping
  double images_per_second = 0;
  double data_wait = 0;      ///< share of the time spent waiting for images
  std::int64_t corrupt = 0;  ///< images that did not decode, so far
};

/// A report on a checkpoint.
struct SavedCheckpoint {
  double seconds = 0;  ///< how long training waited for it
  std::int64_t bytes = 0;
};

/// Writes the reports into two files of the run's folder: `metrics.jsonl`, one JSON object a line
/// with its `step`, and a TensorBoard event file. A report is in both when the call returns.
class MetricsLog {
 public:
  /// If `step` is not 0, the run continues after it: earlier lines stay, except those of later
  /// steps and the evaluation after this step, which will come again. Otherwise an existing
  /// metrics.jsonl is replaced. Throws Error if a file cannot be written.
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
