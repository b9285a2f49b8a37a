#pragma once

#include <optional>

#include "pfc/plan/sampler.h"

namespace pfc {

/// What a PrefetchQueue has done. Each call puts work on a lane (a CUDA stream) and returns: a lane
/// does its work in order, several lanes work at the same time.
class StagingDevice {
 public:
  static constexpr int kSlots = 2;
  enum class Lane {
    kWork,  ///< the steps, on the rows of a slot
    kIn,    ///< from the table to slots
    kOut,   ///< from slots to the table
  };
  enum class Mark { kLoaded, kForwarded, kUpdated, kStored };

  virtual ~StagingDevice() = default;
  /// On kIn: the rows of `classes`, copied from the table into the slot.
  virtual void load(int slot, const SampledClasses& classes) = 0;
  /// On kWork: what the one slot holds of the other's rows, copied there.
  virtual void forward(int from, int to) = 0;
  /// On kOut: a slot's rows, copied back to the table.
  virtual void store(int slot) = 0;

  /// A slot's mark is reached when the lane has done what it was given so far.
  virtual void record(Lane lane, Mark mark, int slot) = 0;
  /// What the lane is given from now on waits for the mark as it was recorded last; for none that
  /// never was.
  virtual void wait(Lane lane, Mark mark, int slot) = 0;
  /// Returns when all lanes have done all they were given.
  virtual void finish() = 0;
};

/// Brings the rows of a table in host memory to a GPU ahead of the step that uses them, while the
/// step before still works on its own, and back. Rows of both steps are forwarded from the one to
/// the other, so that each step sees exactly what the one before made of them.
///
///     slot = queue.begin(classes)     the rows wait in the slot
///     queue.prefetch(next)            any time before `next` begins, or never
///     … the step updates the slot's rows on Lane::kWork …
///     queue.end()
class PrefetchQueue {
 public:
  /// `device` must outlive it.
  explicit PrefetchQueue(StagingDevice& device) : device_(device) {}

  void prefetch(const SampledClasses& next);
  int begin(const SampledClasses& classes);
  void end();
  /// Returns when the table has all updates. What was prefetched is forgotten: the table may be
  /// changed.
  void drain();

 private:
  static int other(int slot) { return StagingDevice::kSlots - 1 - slot; }
  void load(const SampledClasses& classes);

  StagingDevice& device_;
  int current_ = 0;
  bool holds_updates_ = false;           ///< the current slot, which the table may not have yet
  std::optional<SampledClasses> ahead_;  ///< whose rows the other slot has, or will have
};

}  // namespace pfc
