#include "head/staged_table.h"

#include <ATen/Functions.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>

#include "head/table_view.h"
#include "head/upload.h"

namespace pfc {
namespace {

namespace gpu = kernels::cuda;

constexpr int kMarks = 4;
static_assert(gpu::LeftOut::kLists >= StagingDevice::kSlots - 1);

c10::cuda::CUDAStream new_stream(at::DeviceIndex device) {
  return c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device);
}

}  // namespace

StagedTable::StagedTable(const TableState& table, const c10::cuda::CUDAStream& work)
    : table_(table),
      streams_{work, new_stream(work.device_index()), new_stream(work.device_index())},
      queue_(*this) {
  for (int i = 0; i < kMarks * kSlots; ++i) events_.emplace_back(at::kCUDA);
}

void StagedTable::reserve(std::int64_t rows) {
  drain();
  slots_ = {};  // their memory is free for what takes their place
  const auto like = [&](const at::Tensor& part) {
    if (!part.defined()) return part;
    auto sizes = part.sizes().vec();
    sizes[0] = rows;
    return at::empty(sizes, part.options().device(streams_[0].device()));
  };
  const at::Tensor numbers =
      at::empty({rows}, at::TensorOptions(streams_[0].device()).dtype(at::kLong));
  for (Slot& slot : slots_) {
    slot = {.weights = like(table_.weights),
            .states = {},
            .updates = like(table_.updates),
            .steps_seen = like(table_.history.seen()),
            .numbers = like(numbers)};
    for (const at::Tensor& state : table_.states) slot.states.push_back(like(state));
  }
  // The current stream may still use what this memory was before.
  c10::cuda::getCurrentCUDAStream(streams_[0].device_index()).synchronize();
}

gpu::Table StagedTable::part(int slot, const at::Tensor& missed) const {
  const Slot& rows = slots_[static_cast<std::size_t>(slot)];
  gpu::Table part = view_of(table_, missed);
  const auto place = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.data_ptr() : nullptr;
  };
  part.weights = place(rows.weights);
  std::ranges::transform(rows.states, part.states.begin(), place);
  part.updates = static_cast<std::int32_t*>(place(rows.updates));
  part.steps_seen = static_cast<std::int32_t*>(place(rows.steps_seen));
  part.numbers = rows.numbers.const_data_ptr<std::int64_t>();
  return part;
}

gpu::LeftOut StagedTable::rows_of(std::span<const int> slots) const {
  gpu::LeftOut rows;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots_.at(static_cast<std::size_t>(slots[i]));
    rows.rows[i] = slot.numbers.const_data_ptr<std::int64_t>();
    rows.counts[i] = slot.count;
  }
  return rows;
}

void StagedTable::load(int number, const SampledClasses& classes, std::span<const int> held) {
  Slot& to = slot(number);
  const std::int64_t centers = table_.shard.centers_a_class();
  to.count = classes.count() * centers;
  const c10::cuda::CUDAStreamGuard on_lane(stream(Lane::kIn));
  list_on_gpu(classes, centers, to.numbers);
  gpu::load_rows(view_of(table_, {}), part(number, {}), to.count, rows_of(held), stream(Lane::kIn));
}

void StagedTable::forward(int from, int to) {
  gpu::forward_rows(part(from, {}), slot(from).count, part(to, {}), slot(to).count,
                    stream(Lane::kWork));
}

void StagedTable::store(int number, std::optional<int> next) {
  const gpu::LeftOut left_out = next ? rows_of({&*next, 1}) : gpu::LeftOut();
  gpu::store_rows(part(number, {}), view_of(table_, {}), slot(number).count, left_out,
                  stream(Lane::kOut));
}

c10::Event& StagedTable::event(Mark mark, int slot) {
  return events_[static_cast<std::size_t>(mark) * kSlots + static_cast<std::size_t>(slot)];
}

void StagedTable::record(Lane lane, Mark mark, int slot) {
  event(mark, slot).record(stream(lane).unwrap());
}

void StagedTable::wait(Lane lane, Mark mark, int slot) {
  event(mark, slot).block(stream(lane).unwrap());
}

void StagedTable::finish() {
  for (const c10::cuda::CUDAStream& lane : streams_) lane.synchronize();
}

}  // namespace pfc
