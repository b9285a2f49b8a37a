#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pfc/data/augmentation.h"
#include "pfc/data/dataset.h"
#include "pfc/plan/step_plan.h"

namespace pfc {

/// One rank's images of a step: decoded, mirrored and augmented.
struct Batch {
  std::int64_t step = 0;
  /// [b, 112, 112, 3] RGB; zeros for an image that did not decode.
  std::vector<std::uint8_t> pixels;
  std::vector<float> valid;  ///< [b] 1, or 0 for an image that did not decode
  /// One line for each of those: its key and what is wrong with it.
  std::vector<std::string> corrupt;
};

struct LoaderOptions {
  int threads = 2;   ///< decoding threads
  int prefetch = 4;  ///< how many batches are decoded ahead
  /// The run stops if a larger share of the images so far was corrupt. Each corrupt image counts
  /// once; while there are fewer than 1000 images, the share is taken of 1000.
  double most_corrupt_share = 1e-3;
  bool resize = false;  ///< squares of another size than 112 x 112 are resized, and not corrupt
  Augmenter augmenter = {};  ///< changes images after they are mirrored
};

/// Makes of an encoded image what a batch has of it: decodes it into `pixels` [112, 112, 3], flips
/// it if it is `mirrored`, and augments it for its place in the global batch of a step. Throws
/// Error if it does not decode or has another size.
void decode_for_batch(std::span<const std::byte> encoded, bool mirrored, std::int64_t step,
                      std::int64_t place, const LoaderOptions& options, std::uint8_t* pixels);

/// Decodes ahead what the plan will ask for. Batches come in the order of steps, beginning with
/// `first_step`, and depend on the plan alone. An image that is missing, does not decode or has
/// another size gets weight 0, and the dataset is told to leave it out of later starts. An image
/// that cannot be read (IoError) may be a good one, so it stops the run.
class Loader {
 public:
  /// `plan_at` gives the plan of a step; it is called from one thread at a time. This rank loads
  /// its own share of the plan (StepPlan::place). `dataset` must outlive the loader. Throws Error
  /// if there is no thread, or no batch to decode ahead.
  Loader(Dataset& dataset, std::function<StepPlan(std::int64_t)> plan_at, std::int64_t first_step,
         int rank, int world, const LoaderOptions& options);
  /// Stops after the image or the plan that is in progress.
  ~Loader();

  /// The plan and the batch of the next step. Throws Error if too many images were corrupt, naming
  /// the last one. Also throws what `plan_at` or the dataset threw, at the step it belongs to.
  /// Every later call throws the same.
  std::pair<StepPlan, Batch> next();
  /// Gives back the memory of a batch that is no longer needed.
  void recycle(Batch batch);

  /// The number of corrupt images in the batches returned so far. An image that came twice counts
  /// once.
  std::int64_t corrupt() const;
  /// Seconds that `next` has spent waiting.
  double seconds_waited() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
