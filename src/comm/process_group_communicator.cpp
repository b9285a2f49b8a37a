#include "pfc/comm/process_group_communicator.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <type_traits>
#include <utility>
#include <vector>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using Clock = std::chrono::steady_clock;
using Work = c10::intrusive_ptr<c10d::Work>;

/// Where the group carries a tensor, and how.
struct Carrier {
  at::Device device;
  bool is_gloo;
};

/// A collective that was started, and what is to be done when it is over.
struct Started {
  Work work;
  std::function<void()> then = nullptr;
};

/// A view of the same memory. Back ends lack types, but all of them have this one.
at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.view({-1}).view(at::kByte);
}

/// The sum of parts [n, …] over the first dimension, in order.
at::Tensor sum_in_order(const at::Tensor& parts) {
  const at::ScalarType type = parts.scalar_type();
  const bool is_short = at::isReducedFloatingType(type);
  at::Tensor sum = parts[0].to(is_short ? at::kFloat : type, /*non_blocking=*/false, /*copy=*/true);
  for (std::int64_t i = 1; i < parts.size(0); ++i) sum.add_(parts[i]);
  return sum.to(type);
}

/// The name under which torch.distributed has registered the group until it is destroyed; empty for
/// a group that it does not know.
std::string registered_name(const c10d::ProcessGroup& group) {
  try {
    const std::string name = group.getGroupName();
    return c10d::resolve_process_group(name).get() == &group ? name : "";
  } catch (const c10::Error&) {
    return "";
  }
}

bool is_registered(const c10d::ProcessGroup& group, const std::string& name) {
  try {
    return c10d::resolve_process_group(name).get() == &group;
  } catch (const c10::Error&) {
    return false;
  }
}

/// "[file.cc:547] Connection closed by peer\n…" -> "Connection closed by peer"
std::string reason_in(std::string text) {
  text = text.substr(0, text.find('\n'));
  const std::size_t end = text.find("] ");
  return text.starts_with('[') && end != text.npos ? text.substr(end + 2) : text;
}

bool contains_any(const std::string& text, std::initializer_list<const char*> words) {
  return std::ranges::any_of(words, [&](const char* word) { return text.find(word) != text.npos; });
}

std::string duration_text(Clock::duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return ms < 1000 ? std::to_string(ms) + " ms" : std::to_string(ms / 1000) + " s";
}

class ProcessGroupCommunicator final : public Communicator {
 public:
  ProcessGroupCommunicator(c10::intrusive_ptr<c10d::ProcessGroup> group, at::Device device)
      : Communicator(group->getRank(), group->getSize(), device),
        group_(std::move(group)),
        name_(registered_name(*group_)) {}
  /// A group waits at its end for collectives under way. A rank that fails must not wait for the
  /// others.
  ~ProcessGroupCommunicator() override {
    if (std::uncaught_exceptions() > exceptions_) static_cast<void>(group_.release());
  }

 private:
  std::string named(const std::string& call) const {
    return "rank " + std::to_string(rank()) + ": " + call;
  }

  bool has_back_end(at::DeviceType type) const {
    const auto types = group_->getDeviceTypes();
    return std::ranges::any_of(types, [&](at::Device each) { return each.type() == type; });
  }

  Carrier carrier_of(at::Device of, const std::string& call) const {
    for (const at::Device through : {of, at::Device(at::kCPU), device()}) {
      if (!has_back_end(through.type())) continue;
      const bool is_gloo = group_->getBackend(through.type())->getBackendName() == "gloo";
      // Gloo copies a GPU's tensors to the host too, and has only some of its collectives for them.
      return {is_gloo ? at::Device(at::kCPU) : through, is_gloo};
    }
    throw Error(call + ": the process group has no back end for tensors on " + of.str());
  }

  void check_alive(const std::string& call) const {
    if (name_.empty() || is_registered(*group_, name_)) return;
    throw Error(call + ": its process group was destroyed (destroy_process_group)");
  }

  /// Runs `body`, and tells its failure in the words of the other communicators.
  template <class Body>
  static std::invoke_result_t<Body> told(const std::string& call, Clock::time_point start,
                                         const Body& body) {
    try {
      return body();
    } catch (const c10::Error& error) {
      fail(call, start, error.what_without_backtrace());
    } catch (const std::exception& error) {
      fail(call, start, error.what());
    }
  }
  [[noreturn]] static void fail(const std::string& call, Clock::time_point start,
                                const std::string& text) {
    const std::string reason = reason_in(text);
    if (contains_any(reason, {"imed out", "imeout"})) {
      throw Error(call + " was not joined by all ranks within " +
                  duration_text(Clock::now() - start) +
                  ": one of them is stuck, or much slower (train.timeout, or the process group's)");
    }
    if (contains_any(reason, {"onnection", "roken pipe", "remote process"}))
      throw RankLost(call + ": another rank has ended, or cannot be reached: " + reason);
    throw Error(call + ": " + reason);
  }

  /// Calls start(source, target, carrier), which returns a Started. The tensors lie where the group
  /// carries them.
  template <class Start>
  Pending pending(const std::string& what, const at::Tensor& from, const at::Tensor& to,
                  const Start& start) {
    const std::string call = named(what);
    check_alive(call);
    if (from.numel() == 0) return Pending(to, nullptr, nullptr);
    const auto begin = Clock::now();
    const at::NoGradGuard no_grad;
    const Carrier carrier = carrier_of(from.device(), call);
    const at::Tensor source = from.detach().to(carrier.device);
    const at::Tensor target = from.is_same(to) ? source
                              : to.device() == carrier.device
                                  ? to
                                  : at::empty_like(to, to.options().device(carrier.device));
    const Started started = told(call, begin, [&] { return start(source, target, carrier); });
    return Pending(
        to,
        [call, begin, started, target, to] {
          const at::NoGradGuard no_grad_here;
          told(call, begin, [&] { started.work->wait(); });
          if (started.then) started.then();
          if (target.device() != to.device()) to.detach().copy_(target);
        },
        nullptr);
  }

  Pending start_all_gather(const at::Tensor& local, const std::string& call) override {
    auto sizes = local.sizes().vec();
    sizes.at(0) *= world();
    return pending(call, local, at::empty(sizes, local.options()),
                   [this](const at::Tensor& from, const at::Tensor& to, const Carrier& carrier) {
                     at::Tensor source = bytes_of(from), target = bytes_of(to);
                     if (!carrier.is_gloo) return Started{group_->_allgather_base(target, source)};
                     // Gloo takes a third of the time if it gets the parts of the result.
                     std::vector<std::vector<at::Tensor>> targets = {target.chunk(world())};
                     std::vector<at::Tensor> sources = {source};
                     return Started{group_->allgather(targets, sources)};
                   });
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) override {
    auto sizes = full.sizes().vec();
    sizes.at(0) /= world();
    return pending(call, full, at::empty(sizes, full.options()),
                   [this](const at::Tensor& from, const at::Tensor& to, const Carrier& carrier) {
                     at::Tensor source = from, target = to;
                     if (!carrier.is_gloo)
                       return Started{group_->_reduce_scatter_base(target, source)};
                     // Gloo's own is an all-reduce, which takes five times as long.
                     const at::Tensor parts = at::empty({world(), to.numel()}, to.options());
                     at::Tensor received = bytes_of(parts), sent = bytes_of(from);
                     std::vector<std::int64_t> even;
                     return Started{group_->alltoall_base(received, sent, even, even),
                                    [parts, to] { to.copy_(sum_in_order(parts).view_as(to)); }};
                   });
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string& call) override {
    return pending(call, tensor, tensor,
                   [this](const at::Tensor& from, const at::Tensor&, const Carrier&) {
                     std::vector<at::Tensor> tensors = {from};
                     return Started{group_->allreduce(tensors)};
                   });
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string& call) override {
    return pending(call, tensor, tensor,
                   [this](const at::Tensor& from, const at::Tensor&, const Carrier&) {
                     std::vector<at::Tensor> tensors = {bytes_of(from)};
                     return Started{group_->broadcast(tensors)};
                   });
  }
  void do_barrier(const std::string& what) override {
    const std::string call = named(what);
    check_alive(call);
    c10d::BarrierOptions options;
    options.device = carrier_of(device(), call).device;
    if (options.device->is_cuda()) options.device_ids = {device().index()};
    told(call, Clock::now(), [&] { group_->barrier(options)->wait(); });
  }

  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  std::string name_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace

std::unique_ptr<Communicator> make_process_group_communicator(
    c10::intrusive_ptr<c10d::ProcessGroup> group, at::Device device) {
  if (!group) throw Error("there is no process group: torch.distributed was not initialised");
  return std::make_unique<ProcessGroupCommunicator>(std::move(group), device);
}

}  // namespace pfc
