#include "data/read_ahead.h"

#include <algorithm>

#include "plan/epoch_order.h"

namespace pfc {

ReadAhead::ReadAhead(const Dataset& dataset, const StepPlannerOptions& options)
    : dataset_(dataset), options_(options) {}

void ReadAhead::before(std::int64_t step) {
  if (options_.window == 0) return;
  const std::int64_t images = dataset_.size();
  const EpochOrder order(images, options_.window, options_.seed, 0);
  const auto block_of = [&](std::int64_t position) {
    return position / images * order.blocks() + position % images / EpochOrder::kBlock;
  };
  const std::int64_t first = step * options_.batch_size;
  if (next_ < 0) {  // the window in which the step begins
    const std::int64_t block = block_of(first);
    next_ = block - block % order.blocks() % order.blocks_in_window();
  }
  const std::int64_t wanted =
      block_of(first + options_.batch_size - 1) + order.blocks_in_window() + 1;
  for (; next_ < wanted; ++next_) read(next_ / order.blocks(), next_ % order.blocks());
}

void ReadAhead::read(std::int64_t epoch, std::int64_t block) {
  const std::int64_t images = dataset_.size();
  const EpochOrder order(images, options_.window, options_.seed, epoch);
  const ImageRange range = order.block(block);
  const std::int64_t to_end = std::min(range.count, images - range.first);
  dataset_.will_need(range.first, to_end);
  if (to_end < range.count) dataset_.will_need(0, range.count - to_end);
}

}  // namespace pfc
