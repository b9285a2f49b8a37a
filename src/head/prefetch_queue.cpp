#include "head/prefetch_queue.h"

#include <algorithm>
#include <utility>

namespace pfc {

using Lane = StagingDevice::Lane;
using Mark = StagingDevice::Mark;

/// Into the next slot. It holds the rows of the step before the last one. They must have been
/// stored, because the table is read now, and forwarded. The other slots need not have been stored:
/// what they have is not read from the table.
void PrefetchQueue::load(const SampledClasses& classes) {
  const int slot = next_slot();
  device_.wait(Lane::kIn, Mark::kStored, slot);
  device_.wait(Lane::kIn, Mark::kForwarded, slot);
  device_.load(slot, classes, newer_);
  device_.record(Lane::kIn, Mark::kLoaded, slot);
}

void PrefetchQueue::store(int slot, std::optional<int> next) {
  device_.wait(Lane::kOut, Mark::kUpdated, slot);
  if (next) device_.wait(Lane::kOut, Mark::kLoaded, *next);  // its list of rows is read
  device_.store(slot, next);
  device_.record(Lane::kOut, Mark::kStored, slot);
}

/// Stores the last step's rows, but for those that will be stored from slot `next`.
void PrefetchQueue::store_last(std::optional<int> next) {
  if (!unstored_) return;
  store(*unstored_, next);
  in_debt_ = next ? unstored_ : std::nullopt;
  unstored_.reset();
}

/// Stores what was left out.
void PrefetchQueue::pay_debt() {
  if (in_debt_) store(*in_debt_, std::nullopt);
  in_debt_.reset();
}

void PrefetchQueue::prefetch(const SampledClasses& next) {
  if (ahead_) pay_debt();  // the slot gets other rows than those that the last store counted on
  load(next);
  ahead_ = next;
  if (!is_at_work_) store_last(next_slot());
}

int PrefetchQueue::begin(const SampledClasses& classes) {
  if (is_at_work_) end();  // a step that changed nothing; it may still hold what others left out
  if (ahead_ != classes) prefetch(classes);
  ahead_.reset();
  const int slot = next_slot();
  device_.wait(Lane::kWork, Mark::kLoaded, slot);
  for (const int from : newer_) {  // of a row that several have, the newest comes last
    device_.forward(from, slot);
    device_.record(Lane::kWork, Mark::kForwarded, from);
  }
  current_ = slot;
  is_at_work_ = true;
  newer_.push_back(slot);
  std::erase(newer_, next_slot());
  return slot;
}

void PrefetchQueue::end() {
  device_.record(Lane::kWork, Mark::kUpdated, current_);
  is_at_work_ = false;
  unstored_ = current_;
  if (newer_.empty()) newer_.push_back(current_);  // there was a `drain` in the middle of the step
  if (ahead_) store_last(next_slot());
}

void PrefetchQueue::drain() {
  store_last(std::nullopt);
  pay_debt();
  device_.finish();
  newer_.clear();
  ahead_.reset();
}

}  // namespace pfc
