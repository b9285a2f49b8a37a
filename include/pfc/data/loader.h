#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "pfc/data/dataset.h"
#include "pfc/train/step_plan.h"

namespace pfc {

/// One rank's images of a step, decoded and mirrored.
struct Batch {
  std::int64_t step = 0;
  std::vector<std::uint8_t> pixels;  ///< [b, 112, 112, 3] RGB; zeros where an image would not decode
  std::vector<float> valid;          ///< [b] 1, or 0 where an image would not decode
};

struct LoaderOptions {
  int threads = 2;                   ///< decoding threads
  int prefetch = 4;                  ///< batches decoded ahead
  double most_corrupt_share = 1e-3;  ///< of the images decoded so far (once they are a thousand); more stops the run
};

/// Decodes ahead what the plan will ask for. Batches come in order of steps, from `first_step` on.
class Loader {
 public:
  /// `plan_at` gives a step's plan (called from one thread at a time); this rank takes rows [rank·b, (rank+1)·b) of it.
  Loader(Dataset& dataset, std::function<StepPlan(std::int64_t)> plan_at, std::int64_t first_step, int rank, int world,
         const LoaderOptions& options);
  ~Loader();

  /// The plan and the batch of the next step. Throws Error where too many images were corrupt, naming the last one.
  std::pair<StepPlan, Batch> next();
  /// Gives a used batch's memory back.
  void recycle(Batch batch);

  std::int64_t corrupt() const;
  /// Seconds `next` has spent waiting.
  double seconds_waited() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
