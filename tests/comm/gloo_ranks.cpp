#include "comm/gloo_ranks.h"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

#include "comm/gloo_group.h"
#include "pfc/comm/process_group_communicator.h"

namespace pfc {
namespace {

// LibTorch records the collectives of a process in one place, and notes a group there without its
// lock. Ranks that are threads would do so at once, so nothing is recorded.
[[maybe_unused]] const int g_nothing_is_recorded = ::setenv("TORCH_FR_BUFFER_SIZE", "0", 1);

}  // namespace

void run_gloo_ranks(int world, const std::function<void(Communicator& comm)>& body,
                    std::chrono::milliseconds timeout) {
  const c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::HashStore>();
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(world));
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      try {
        const auto comm =
            make_process_group_communicator(make_gloo_group(store, rank, world, timeout));
        body(*comm);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pfc
