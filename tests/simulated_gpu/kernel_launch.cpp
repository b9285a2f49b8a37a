#undef _FORTIFY_SOURCE  // it takes a jump to another stack as an error
#include "simulated_gpu/kernel_launch.h"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

namespace simulated_gpu {

Place thread_in_block, block_in_grid, threads_of_block;

namespace {

constexpr unsigned kWarp = 32;
constexpr std::size_t kStack = 64 << 10;

/// A thread of a block; it is used again for the next blocks.
struct Thread {
  std::vector<char> stack;
  std::jmp_buf here = {};
  bool is_over = false;
  std::array<int, 2> meetings{};  ///< how many meetings of its warp and of its block it has come to
  std::array<Shown, 2> shown{};   ///< what it showed at an even and at an odd meeting
  std::vector<std::vector<Copy>> copies;
};

std::vector<std::unique_ptr<Thread>> threads;
std::jmp_buf scheduler;
const std::function<void()>* work = nullptr;
std::vector<std::byte> shared_memory;

Thread& current() {
  return *threads[thread_in_block.x];
}

/// Lets the other threads run. Not by swapcontext, which makes a system call for the signals each
/// time.
void pause() {
  if (_setjmp(current().here) == 0) std::longjmp(scheduler, 1);
}

void live() {
  for (;;) {
    (*work)();
    current().is_over = true;
    pause();
  }
}

/// Runs the current thread until it pauses.
void go_on() {
  if (_setjmp(scheduler) != 0) return;
  Thread& thread = current();
  if (!thread.stack.empty()) std::longjmp(thread.here, 1);
  thread.stack.resize(kStack);
  ucontext_t first;
  ::getcontext(&first);
  first.uc_stack.ss_sp = thread.stack.data();
  first.uc_stack.ss_size = kStack;
  ::makecontext(&first, live, 0);
  ::setcontext(&first);
}

/// Continues when every unfinished thread of [first, last) has come to as many meetings.
void meet(std::size_t kind, unsigned first, unsigned last) {
  const int number = ++current().meetings[kind];
  const auto has_come = [&](const std::unique_ptr<Thread>& thread) {
    return thread->is_over || thread->meetings[kind] >= number;
  };
  while (!std::all_of(threads.begin() + first, threads.begin() + last, has_come)) pause();
}

/// Which of `count` blocks, or threads of one, has the k-th turn. With SIMULATED_GPU_BACKWARDS=1
/// the last one begins. A result that depends on the order is a race.
unsigned turn(unsigned k, unsigned count) {
  static const bool backwards = std::getenv("SIMULATED_GPU_BACKWARDS") != nullptr;
  return backwards ? count - 1 - k : k;
}

void run_block(unsigned size) {
  std::ranges::fill(shared_memory, std::byte{0xff});
  for (unsigned i = 0; i < size; ++i) {
    threads[i]->is_over = false;
    threads[i]->meetings = {};
    threads[i]->copies.assign(1, {});
  }
  for (unsigned left = size; left > 0;) {
    for (unsigned k = 0; k < size; ++k) {
      const unsigned i = turn(k, size);
      if (threads[i]->is_over) continue;
      thread_in_block = {i};
      go_on();
      if (threads[i]->is_over) --left;
    }
  }
}

}  // namespace

void meet_warp() {
  const unsigned first = thread_in_block.x / kWarp * kWarp;
  meet(0, first, std::min(first + kWarp, threads_of_block.x));
}
void meet_block() {
  meet(1, 0, threads_of_block.x);
}

ShownByWarp::ShownByWarp(const Shown& words)
    : meeting_(static_cast<std::size_t>(current().meetings[0] % 2)) {
  current().shown[meeting_] = words;
  meet_warp();
}
const Shown& ShownByWarp::operator[](unsigned lane) const {
  return threads[thread_in_block.x / kWarp * kWarp + lane]->shown[meeting_];
}

std::vector<std::vector<Copy>>& requested_copies() {
  return current().copies;
}
std::span<std::byte> dynamic_shared() {
  return shared_memory;
}

void run_blocks(unsigned blocks, unsigned size, std::size_t shared_bytes,
                const std::function<void()>& thread) {
  static std::mutex mutex;  // one GPU runs one kernel at a time
  const std::lock_guard lock(mutex);
  work = &thread;
  threads_of_block = {size};
  shared_memory.resize(shared_bytes);
  while (threads.size() < size) threads.push_back(std::make_unique<Thread>());
  for (unsigned k = 0; k < blocks; ++k) {
    block_in_grid = {turn(k, blocks)};
    run_block(size);
  }
}

}  // namespace simulated_gpu
