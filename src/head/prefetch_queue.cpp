#include "head/prefetch_queue.h"

namespace pfc {

using Lane = StagingDevice::Lane;
using Mark = StagingDevice::Mark;

/// The other slot holds the rows of the step before the current one. They must have been stored
/// (the table is read now) and forwarded. The current step's rows need not have been stored: rows
/// that both steps use come from its slot.
void PrefetchQueue::load(const SampledClasses& classes) {
  const int slot = other(current_);
  device_.wait(Lane::kIn, Mark::kStored, slot);
  device_.wait(Lane::kIn, Mark::kForwarded, slot);
  device_.load(slot, classes);
  device_.record(Lane::kIn, Mark::kLoaded, slot);
}

void PrefetchQueue::prefetch(const SampledClasses& next) {
  load(next);
  ahead_ = next;
}

int PrefetchQueue::begin(const SampledClasses& classes) {
  if (ahead_ != classes) load(classes);
  ahead_.reset();
  const int before = current_, slot = other(before);
  device_.wait(Lane::kWork, Mark::kLoaded, slot);
  if (holds_updates_) {
    device_.forward(before, slot);
    device_.record(Lane::kWork, Mark::kForwarded, before);
  }
  current_ = slot;
  holds_updates_ = false;
  return slot;
}

void PrefetchQueue::end() {
  device_.record(Lane::kWork, Mark::kUpdated, current_);
  device_.wait(Lane::kOut, Mark::kUpdated, current_);
  device_.store(current_);
  device_.record(Lane::kOut, Mark::kStored, current_);
  holds_updates_ = true;
}

void PrefetchQueue::drain() {
  device_.finish();
  holds_updates_ = false;
  ahead_.reset();
}

}  // namespace pfc
