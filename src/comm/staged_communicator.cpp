#include "pfc/comm/staged_communicator.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace pfc {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::shared_ptr<Communicator> host, at::Device device)
      : Communicator(host->rank(), host->world(), device),
        host_(std::move(host)),
        guard_(device),
        gpu_(device.type()),
        to_host_(gpu_.getStreamFromGlobalPool(device, /*isHighPriority=*/true)) {}

 private:
  /// Starts the collective of the host's communicator.
  using Start = std::function<Pending(at::Tensor& sent)>;

  /// A collective of tensors on the GPU.
  struct Call {
    Start start;
    at::Tensor sent;     ///< the input, in pinned memory
    c10::Event arrived;  ///< when it is there
    std::optional<Pending> begun = {};
    std::exception_ptr failure = {};  ///< why it has not begun
  };

  Pending staged(const at::Tensor& from, const at::Tensor& to, Start start) {
    const at::NoGradGuard no_grad;
    const auto pinned = at::TensorOptions(from.scalar_type()).pinned_memory(true);
    const auto call = std::make_shared<Call>(
        Call{std::move(start), at::empty(from.sizes(), pinned), c10::Event(device().type())});
    c10::Event made(device().type());
    made.record(gpu_.getStream(device()));
    made.block(to_host_);
    {
      const c10::StreamGuard there(to_host_);
      call->sent.copy_(from, /*non_blocking=*/true);
    }
    gpu_.recordDataPtrOnStream(from.storage().data_ptr(), to_host_);
    call->arrived.record(to_host_);
    waiting_.push_back(call);
    begin_those_that_arrived();
    return Pending(
        to, [this, call, to] { finish(*call, to); },
        [this, call] {
          begin_those_that_arrived();
          if (call->begun) call->begun->poll();
        });
  }

  void finish(Call& call, const at::Tensor& to) {
    while (!call.begun && !call.failure) begin_next();
    if (call.failure) std::rethrow_exception(call.failure);
    const at::NoGradGuard no_grad;
    to.copy_(call.begun->wait(), /*non_blocking=*/true);
    gpu_.recordDataPtrOnStream(to.storage().data_ptr(), gpu_.getStream(device()));
  }

  // All ranks begin the collectives in the order of the calls, each rank at its own time.

  void begin_next() {
    const std::shared_ptr<Call> next = waiting_.front();
    next->arrived.synchronize();
    waiting_.pop_front();
    try {
      next->begun.emplace(next->start(next->sent));
    } catch (...) {
      next->failure = std::current_exception();  // told where this call is waited for
    }
  }
  void begin_those_that_arrived() {
    while (!waiting_.empty() && waiting_.front()->arrived.query()) begin_next();
  }
  /// The communicator for host memory, for a call that comes after all others.
  Communicator& host() {
    while (!waiting_.empty()) begin_next();
    return *host_;
  }

  Pending start_all_gather(const at::Tensor& local, const std::string& call) override {
    if (local.is_cpu()) return host().start_all_gather(local, call);
    auto sizes = local.sizes().vec();
    sizes.at(0) *= world();
    return staged(local, at::empty(sizes, local.options()),
                  [this, call](at::Tensor& sent) { return host_->start_all_gather(sent, call); });
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) override {
    if (full.is_cpu()) return host().start_reduce_scatter(full, call);
    auto sizes = full.sizes().vec();
    sizes.at(0) /= world();
    return staged(full, at::empty(sizes, full.options()), [this, call](at::Tensor& sent) {
      return host_->start_reduce_scatter(sent, call);
    });
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string& call) override {
    if (tensor.is_cpu()) return host().start_all_reduce(tensor, call);
    return staged(tensor, tensor,
                  [this, call](at::Tensor& sent) { return host_->start_all_reduce(sent, call); });
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string& call) override {
    if (tensor.is_cpu()) return host().start_broadcast(tensor, call);
    return staged(tensor, tensor,
                  [this, call](at::Tensor& sent) { return host_->start_broadcast(sent, call); });
  }
  void do_barrier(const std::string& call) override { host().do_barrier(call); }

  std::shared_ptr<Communicator> host_;
  c10::DeviceGuard guard_;
  c10::impl::VirtualGuardImpl gpu_;
  c10::Stream to_host_;
  std::deque<std::shared_ptr<Call>> waiting_;  ///< calls that have not begun
};

std::unique_ptr<Communicator> make_staged_communicator(std::shared_ptr<Communicator> host,
                                                       at::Device device) {
  return std::make_unique<StagedCommunicator>(std::move(host), device);
}

}  // namespace pfc
