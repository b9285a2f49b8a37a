#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pfc/plan/sampler.h"

namespace pfc {

/// All that a training step will use, known before it begins. Everything but `classes` is the same
/// on every rank.
struct StepPlan {
  std::int64_t step = 0;
  std::vector<std::int64_t> images;  ///< [B] numbers of the global batch's images in the dataset
  std::vector<std::uint8_t> mirror;  ///< [B] 1 where the image is flipped left to right
  std::vector<GlobalClass> labels;   ///< [B] identities of the global batch
  SampledClasses classes;            ///< the class centres that this rank uses
  /// Number of equal, consecutive parts that go through the network one after another.
  std::int64_t micro_batches = 1;

  /// The place in the plan of a rank's i-th image. A rank has a consecutive share of every
  /// micro-batch, so a micro-batch holds the same images for any number of ranks.
  std::size_t place(int rank, int world, std::size_t i) const;
};

/// Whether training flips the image at a place of a step's global batch: one half of all.
bool is_mirrored(std::uint64_t seed, std::int64_t step, std::size_t place);

/// Throws Error, naming the nearest valid sizes, if a global batch is not a positive multiple of
/// `world` times `micro_batches`.
void require_whole_batch(std::int64_t batch, std::int64_t world, std::int64_t micro_batches);

struct StepPlannerOptions {
  std::uint64_t seed = 0;
  std::int64_t batch_size = 128;  ///< the global batch, a multiple of the number of ranks
  std::int64_t micro_batches = 1;
  bool mirror = true;  ///< flip an image with probability 1/2
  /// 0: an epoch may order all images in any way. Otherwise blocks of consecutive images are put in
  /// random order, and about this many images are mixed (see epoch_order.h).
  std::int64_t window = 0;
};

/// `at(step)` is a pure function of (seed, step). The order of images is a stream of epochs, each a
/// seeded permutation. A batch may span two epochs, and no image comes twice in an epoch.
class StepPlanner {
 public:
  /// `labels` [N], one identity for each image; they must outlive the planner. Throws Error if the
  /// batch is not a positive multiple of the sampler's world times the micro-batches (naming the
  /// nearest sizes), or if a label is not a class of the sampler.
  StepPlanner(const StepPlannerOptions& options, std::span<const std::int32_t> labels,
              const ClassSampler& sampler);

  StepPlan at(std::int64_t step) const;
  /// How many steps `epochs` take. The last step may reach into the next epoch.
  std::int64_t steps_in(double epochs) const;

 private:
  StepPlannerOptions options_;
  std::span<const std::int32_t> labels_;
  ClassSampler sampler_;
};

}  // namespace pfc
