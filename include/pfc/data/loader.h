#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pfc/data/dataset.h"
#include "pfc/plan/step_plan.h"

namespace pfc {

/// One rank's images of a step, decoded and mirrored.
struct Batch {
  std::int64_t step = 0;
  /// [b, 112, 112, 3] RGB; zeros where an image would not decode.
  std::vector<std::uint8_t> pixels;
  std::vector<float> valid;  ///< [b] 1, or 0 where an image would not decode
  /// A line for each of those: its key and what is wrong with it.
  std::vector<std::string> corrupt;
};

struct LoaderOptions {
  int threads = 2;   ///< decoding threads
  int prefetch = 4;  ///< batches decoded ahead
  /// Of the images so far, each counted once, and as 1000 while they are fewer; more stops the run.
  double most_corrupt_share = 1e-3;
};

/// Decodes ahead what the plan will ask for. Batches come in order of steps, from `first_step` on,
/// and what they hold is a function of the plan alone. An image that is not there, does not
/// decode or is not 112 x 112 weighs nothing, and the dataset is told to leave it out of later
/// starts. One that cannot be read (IoError) may be a good one: it stops the run.
class Loader {
 public:
  /// `plan_at` gives a step's plan (called from one thread at a time); this rank takes its share
  /// (StepPlan::place) of it. `dataset` must outlive the loader. Throws Error where there is no
  /// thread or no batch to decode ahead.
  Loader(Dataset& dataset, std::function<StepPlan(std::int64_t)> plan_at, std::int64_t first_step,
         int rank, int world, const LoaderOptions& options);
  /// Stops within the time that an image, or a plan that is being made, takes.
  ~Loader();

  /// The plan and the batch of the next step. Throws Error where too many images were corrupt,
  /// naming the last one, and what `plan_at` or the dataset threw, at the step it belongs to; after
  /// that, the same again.
  std::pair<StepPlan, Batch> next();
  /// Gives a used batch's memory back.
  void recycle(Batch batch);

  /// Corrupt images in the batches that `next` has given; one that came again is one.
  std::int64_t corrupt() const;
  /// Seconds `next` has spent waiting.
  double seconds_waited() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
