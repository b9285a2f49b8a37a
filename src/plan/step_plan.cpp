#include "pfc/plan/step_plan.h"

#include <cmath>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"
#include "plan/epoch_order.h"

namespace pfc {

void require_whole_batch(std::int64_t batch, std::int64_t world, std::int64_t micro_batches) {
  if (micro_batches < 1) {
    throw Error("a step has " + counted(micro_batches, "micro-batch") + ", want 1 at least");
  }
  const std::int64_t parts = world * micro_batches;
  if (batch > 0 && batch % parts == 0) return;
  const std::int64_t below = batch / parts * parts;
  throw Error("the batch of " + counted(batch, "image") + " does not divide over " +
              counted(world, "rank") +
              (micro_batches > 1 ? " and " + counted(micro_batches, "micro-batch") : "") +
              "; the nearest sizes are " + (below > 0 ? std::to_string(below) + " and " : "") +
              std::to_string(below + parts));
}

std::size_t StepPlan::place(int rank, int world, std::size_t i) const {
  const std::size_t micro_batch = images.size() / static_cast<std::size_t>(micro_batches);
  const std::size_t share = micro_batch / static_cast<std::size_t>(world);
  return i / share * micro_batch + static_cast<std::size_t>(rank) * share + i % share;
}

bool is_mirrored(std::uint64_t seed, std::int64_t step, std::size_t place) {
  return (CounterRandom(seed, RandomStream::kMirror).bits(static_cast<std::uint64_t>(step), place) &
          1) != 0;
}

StepPlanner::StepPlanner(const StepPlannerOptions& options, std::span<const std::int32_t> labels,
                         const ClassSampler& sampler)
    : options_(options), labels_(labels), sampler_(sampler) {
  require_whole_batch(options.batch_size, sampler.shard().world(), options.micro_batches);
  if (labels.empty()) throw Error("there are no images to train on");
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= sampler.shard().classes()) {
      throw Error("image " + std::to_string(i) + " has the label " + std::to_string(labels[i]) +
                  ", want one from 0 to " + std::to_string(sampler.shard().classes() - 1));
    }
  }
}

StepPlan StepPlanner::at(std::int64_t step) const {
  const auto images = static_cast<std::int64_t>(labels_.size());
  StepPlan plan;
  plan.step = step;
  plan.micro_batches = options_.micro_batches;
  const auto batch = static_cast<std::size_t>(options_.batch_size);
  plan.images.reserve(batch);
  plan.mirror.reserve(batch);
  plan.labels.reserve(batch);

  std::int64_t position = step * options_.batch_size;  // in the stream of all epochs
  for (std::size_t i = 0; i < batch;) {
    const std::int64_t epoch = position / images;
    EpochOrder order(images, options_.window, options_.seed, epoch);
    for (; i < batch && position / images == epoch; ++i, ++position) {
      const std::int64_t image = order.image(position % images);
      plan.images.push_back(image);
      plan.labels.push_back({labels_[static_cast<std::size_t>(image)]});
      plan.mirror.push_back(options_.mirror && is_mirrored(options_.seed, step, i));
    }
  }
  plan.classes = sampler_.draw(step, plan.labels);
  return plan;
}

std::int64_t StepPlanner::steps_in(double epochs) const {
  const double steps =
      epochs * static_cast<double>(labels_.size()) / static_cast<double>(options_.batch_size);
  return static_cast<std::int64_t>(std::ceil(steps - 1e-9));
}

}  // namespace pfc
