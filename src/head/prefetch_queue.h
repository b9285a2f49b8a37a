#pragma once

#include <optional>

#include "pfc/plan/sampler.h"

namespace pfc {

/// The operations that a PrefetchQueue needs. Each call puts work on a lane (a CUDA stream) and
/// returns. A lane does its work in order; several lanes work at the same time.
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
  /// On kIn: copies the rows of `classes` from the table into the slot.
  virtual void load(int slot, const SampledClasses& classes) = 0;
  /// On kWork: copies to slot `to` the rows that slot `from` also has.
  virtual void forward(int from, int to) = 0;
  /// On kOut: copies a slot's rows back to the table.
  virtual void store(int slot) = 0;

  /// Records a slot's mark: it is reached when the lane has done its work so far.
  virtual void record(Lane lane, Mark mark, int slot) = 0;
  /// Later work on the lane waits for the mark as it was last recorded; a mark that was never
  /// recorded is not waited for.
  virtual void wait(Lane lane, Mark mark, int slot) = 0;
  /// Returns when all lanes have done all their work.
  virtual void finish() = 0;
};

/// Brings the rows of a table in host memory to a GPU before the step that uses them, while the
/// step before still works on its own rows, and takes them back. Rows that both steps use are
/// forwarded from one slot to the other, so each step sees exactly what the step before made of
/// them.
///
///     slot = queue.begin(classes)     the rows wait in the slot
///     queue.prefetch(next)            any time before `next` begins, or never
///     … the step updates the slot's rows on Lane::kWork …
///     queue.end()
class PrefetchQueue {
 public:
  /// `device` must outlive this.
  explicit PrefetchQueue(StagingDevice& device) : device_(device) {}

  void prefetch(const SampledClasses& next);
  int begin(const SampledClasses& classes);
  void end();
  /// Returns when the table has all updates. Prefetched rows are forgotten, because the table may
  /// be changed.
  void drain();

 private:
  static int other(int slot) { return StagingDevice::kSlots - 1 - slot; }
  void load(const SampledClasses& classes);

  StagingDevice& device_;
  int current_ = 0;
  bool holds_updates_ =
      false;  ///< whether the current slot holds updates that the table may not have yet
  std::optional<SampledClasses>
      ahead_;  ///< the classes whose rows the other slot has, or will have
};

}  // namespace pfc
