#pragma once

#include <optional>
#include <span>
#include <vector>

#include "pfc/plan/sampler.h"

namespace pfc {

/// The operations that a PrefetchQueue needs. Each call puts work on a lane (a CUDA stream) and
/// returns. A lane does its work in order; several lanes work at the same time.
class StagingDevice {
 public:
  /// One for the step at work, one for the next step's rows, and one for those of the step before,
  /// which are on their way back. With two, a slot would be emptied before it is filled, and the
  /// bus would never carry rows both ways at once.
  static constexpr int kSlots = 3;
  enum class Lane {
    kWork,  ///< the steps, on the rows of a slot
    kIn,    ///< from the table to slots
    kOut,   ///< from slots to the table
  };
  enum class Mark { kLoaded, kForwarded, kUpdated, kStored };

  virtual ~StagingDevice() = default;
  /// On kIn: copies the rows of `classes` from the table into the slot, but for those that a slot
  /// of `held` has too. There are at most kSlots − 1 of these.
  virtual void load(int slot, const SampledClasses& classes, std::span<const int> held) = 0;
  /// On kWork: copies to slot `to` the rows that slot `from` also has.
  virtual void forward(int from, int to) = 0;
  /// On kOut: copies a slot's rows back to the table, but for those that slot `next` has too.
  virtual void store(int slot, std::optional<int> next) = 0;

  /// Records a slot's mark: it is reached when the lane has done its work so far.
  virtual void record(Lane lane, Mark mark, int slot) = 0;
  /// Later work on the lane waits for the mark as it was last recorded; a mark that was never
  /// recorded is not waited for.
  virtual void wait(Lane lane, Mark mark, int slot) = 0;
  /// Returns when all lanes have done all their work.
  virtual void finish() = 0;
};

/// Brings the rows of a table in host memory to a GPU before the step that uses them, while the
/// step before still works on its own rows, and takes them back. A row that a later step uses too
/// goes from slot to slot: it is not read from the table, and it is stored once, behind the last of
/// these steps. So each step sees exactly what the steps before made of its rows, and only rows
/// that changed hands travel.
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
  int next_slot() const { return (current_ + 1) % StagingDevice::kSlots; }
  void load(const SampledClasses& classes);
  void store(int slot, std::optional<int> next);
  void store_last(std::optional<int> next);
  void pay_debt();

  StagingDevice& device_;
  int current_ = 0;
  bool is_at_work_ = false;  ///< between `begin` and `end`
  /// Slots whose rows may be newer than the table's, the oldest first.
  std::vector<int> newer_;
  std::optional<int> unstored_;  ///< the slot of a step that ended and has not been stored
  /// The slot that was stored last, if rows were left out that the table may not have yet.
  std::optional<int> in_debt_;
  std::optional<SampledClasses> ahead_;  ///< the classes whose rows the next slot will have
};

}  // namespace pfc
