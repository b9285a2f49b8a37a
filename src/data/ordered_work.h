#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace pfc {

/// Calls `make(i)` for every i in [0, count) on `threads` threads, and `take(i, make(i))` on this
/// thread, in order and as early as possible. At most `kWindow` results wait to be taken. What
/// either throws is thrown here, after the calls under way have ended.
template <class Make, class Take>
void ordered_work(std::int64_t count, int threads, const Make& make, const Take& take) {
  constexpr std::int64_t kWindow = 256;
  using Made = decltype(make(std::int64_t{}));
  struct Slot {
    std::optional<Made> made;
    std::exception_ptr failure;
  };
  std::vector<Slot> slots(static_cast<std::size_t>(std::min(kWindow, count)));
  const auto slot_of = [&](std::int64_t i) -> Slot& {
    return slots[static_cast<std::size_t>(i % kWindow)];
  };
  std::mutex mutex;
  std::condition_variable made_one, took_one;
  std::int64_t next = 0, taken = 0;
  const auto work = [&] {
    std::unique_lock lock(mutex);
    while (true) {
      took_one.wait(lock, [&] { return next == count || next < taken + kWindow; });
      if (next == count) return;
      const std::int64_t i = next++;
      lock.unlock();
      Slot slot;
      try {
        slot.made = make(i);
      } catch (...) {
        slot.failure = std::current_exception();
      }
      lock.lock();
      slot_of(i) = std::move(slot);
      made_one.notify_one();
    }
  };
  // Starts nothing more, and wakes the waiting threads.
  const auto stop = [&] {
    const std::lock_guard lock(mutex);
    next = count;
    took_one.notify_all();
  };
  std::vector<std::jthread> workers;  // joined at the end
  try {
    for (int thread = 0; thread < std::max(1, threads); ++thread) workers.emplace_back(work);
    for (std::int64_t i = 0; i < count; ++i) {
      std::unique_lock lock(mutex);
      made_one.wait(lock, [&] { return slot_of(i).made || slot_of(i).failure; });
      Slot slot = std::exchange(slot_of(i), {});
      taken = i + 1;
      took_one.notify_one();
      lock.unlock();
      if (slot.failure) std::rethrow_exception(slot.failure);
      take(i, std::move(*slot.made));
    }
  } catch (...) {
    stop();
    throw;
  }
  stop();
}

}  // namespace pfc
