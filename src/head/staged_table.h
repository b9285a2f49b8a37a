#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "head/kernels/kernels_cuda.h"
#include "head/prefetch_queue.h"
#include "head/table_state.h"

namespace pfc {

/// A table in pinned host memory whose rows are copied to a GPU before the steps that use them:
/// slots in its memory, a stream that fills them, and one that copies them back.
class StagedTable final : private StagingDevice {
 public:
  /// Steps work on the rows on `work`. `table` must outlive it.
  StagedTable(const TableState& table, const c10::cuda::CUDAStream& work);

  /// Makes room for steps with this many rows. Call it between steps, when nothing is prefetched.
  void reserve(std::int64_t rows);
  // See PrefetchQueue. `begin` returns the number of a slot.
  void prefetch(const SampledClasses& next) { queue_.prefetch(next); }
  int begin(const SampledClasses& classes) { return queue_.begin(classes); }
  void end() { queue_.end(); }
  void drain() { queue_.drain(); }

  /// The step's rows, in the order of their classes. `missed` as for view_of.
  kernels::cuda::Table part(int slot, const at::Tensor& missed) const;

 private:
  struct Slot {
    at::Tensor weights;              ///< [most, d]
    std::vector<at::Tensor> states;  ///< each [most, d]
    at::Tensor updates, steps_seen;  ///< [most]
    at::Tensor numbers;              ///< [most] rows of the table
    std::int64_t count = 0;          ///< of them
  };

  void load(int slot, const SampledClasses& classes, std::span<const int> held) override;
  void forward(int from, int to) override;
  void store(int slot, std::optional<int> next) override;
  void record(Lane lane, Mark mark, int slot) override;
  void wait(Lane lane, Mark mark, int slot) override;
  void finish() override;

  kernels::cuda::LeftOut rows_of(std::span<const int> slots) const;
  Slot& slot(int number) { return slots_[static_cast<std::size_t>(number)]; }
  c10::cuda::CUDAStream& stream(Lane lane) { return streams_[static_cast<std::size_t>(lane)]; }
  c10::Event& event(Mark mark, int slot);

  const TableState& table_;
  std::array<c10::cuda::CUDAStream, 3> streams_;  ///< by Lane
  std::vector<c10::Event> events_;                ///< by Mark and slot
  std::array<Slot, kSlots> slots_;
  PrefetchQueue queue_;
};

}  // namespace pfc
