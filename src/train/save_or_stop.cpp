#include "train/save_or_stop.h"

#include <ATen/Functions.h>

#include "comm/send.h"

namespace pfc {

using Clock = CheckpointClock::Clock;

SaveOrStop::SaveOrStop(const Config::Checkpoint& config, std::int64_t steps, Communicator& comm)
    : comm_(comm), clock_(config, steps, Clock::now()) {}

/// Steps count alike on all ranks. The clock is the first rank's, a signal may come to any.
SaveOrStop::Decision SaveOrStop::after(std::int64_t done) {
  const bool due = clock_.due_after(done);
  const bool late = comm_.is_first() && clock_.due_at(Clock::now()), stop = stop_.made();
  if (comm_.world() == 1) return {due || late || stop, stop};
  at::Tensor votes = send(at::tensor({late ? 1 : 0, stop ? 1 : 0}, at::kLong), comm_.device());
  comm_.all_reduce(votes).wait();
  std::optional<PendingValues> counted(votes);
  if (counted->is_pending()) votes_.swap(counted);  // a GPU's are looked at one step late
  if (!counted) return {due, false};
  const at::Tensor& sums = counted->wait();
  const bool any_stop = sums[1].item<int>() > 0;
  return {due || any_stop || sums[0].item<int>() > 0, any_stop};
}

void SaveOrStop::saved(Clock::time_point begin, Clock::time_point end) {
  clock_.saved(begin, end);
  votes_.reset();  // they may ask for what is done now
}

}  // namespace pfc
