#include "pfc/comm/long_work.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <chrono>
#include <future>
#include <optional>

namespace pfc {
namespace {

/// Well below the shortest timeout, which is a second.
constexpr std::chrono::milliseconds kBeat{100};

/// The current stream of a GPU.
std::optional<c10::Stream> current_stream(at::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// Another stream on a GPU. On the work's own stream a beat would wait for the work, and the work
/// for the other ranks' beats.
std::optional<c10::Stream> stream_beside(at::Device device) {
  if (!device.is_cuda()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

}  // namespace

void long_work(Communicator& comm, const std::function<void()>& work) {
  if (comm.world() == 1) return work();
  const auto as_here = [&work, state = at::ThreadLocalState(),
                        stream = current_stream(comm.device())] {
    at::init_num_threads();
    const at::ThreadLocalStateGuard modes(state);
    const c10::OptionalStreamGuard on_stream(stream);
    work();
  };
  const c10::OptionalStreamGuard on_stream(stream_beside(comm.device()));
  std::future<void> ended = std::async(std::launch::async, as_here);
  for (bool done = false;;) {
    if (!done && ended.wait_for(kBeat) == std::future_status::ready) {
      ended.get();
      done = true;
    }
    at::Tensor at_work = at::full({1}, done ? 0 : 1, at::kLong);
    comm.all_reduce(at_work).wait();
    if (at_work.item<std::int64_t>() == 0) return;
  }
}

}  // namespace pfc
