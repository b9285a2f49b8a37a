#include "pfc/comm/communicator.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

std::int64_t ring_bytes(Collective collective, std::int64_t bytes, std::int64_t world) {
  switch (collective) {
    case Collective::kAllGather:
      return (world - 1) * bytes;
    case Collective::kReduceScatter:
    case Collective::kBroadcast:
      return bytes * (world - 1) / world;
    case Collective::kAllReduce:
      return 2 * bytes * (world - 1) / world;
    case Collective::kBarrier:
      return 0;
  }
  return 0;
}

}  // namespace

Pending::Pending(at::Tensor result, std::function<void()> finish, std::function<void()> poll)
    : result_(std::move(result)),
      finish_(std::move(finish)),
      poll_(std::move(poll)),
      exceptions_(std::uncaught_exceptions()) {}

Pending::Pending(Pending&& other) noexcept
    : result_(std::move(other.result_)),
      finish_(std::exchange(other.finish_, nullptr)),
      poll_(std::exchange(other.poll_, nullptr)),
      exceptions_(other.exceptions_) {}

Pending::~Pending() {
  if (!finish_ || std::uncaught_exceptions() > exceptions_) return;
  try {
    finish_();
  } catch (const std::exception&) {
    return;
  }
}

at::Tensor Pending::wait() {
  if (finish_) std::exchange(finish_, nullptr)();
  return result_;
}

void Pending::poll() {
  if (finish_ && poll_) poll_();
}

std::string_view name_of(Collective collective) {
  switch (collective) {
    case Collective::kAllGather:
      return "all_gather";
    case Collective::kReduceScatter:
      return "reduce_scatter";
    case Collective::kAllReduce:
      return "all_reduce";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kBarrier:
      return "barrier";
  }
  return "";
}

/// The begin of every collective: checks its arguments, counts it, and makes its name for messages.
std::string Communicator::begin(Collective collective, const at::Tensor& tensor) {
  std::string call(name_of(collective));
  if (tensor.defined()) {
    call += " of " + std::string(at::toString(tensor.scalar_type())) + " [";
    for (std::int64_t i = 0; i < tensor.dim(); ++i)
      call += (i > 0 ? ", " : "") + std::to_string(tensor.size(i));
    call += "]";
  }
  call += " (call " + std::to_string(++calls_) + ")";
#ifdef PFC_CHECK_COLLECTIVES
  if (world_ > 1 && !is_recording()) compare_calls(call);
#endif
  if (tensor.defined() && !tensor.is_contiguous())
    throw Error("rank " + std::to_string(rank_) + ": " + call + ": the tensor is not contiguous");
  Traffic& traffic = traffic_[static_cast<std::size_t>(collective)];
  ++traffic.calls;
  if (tensor.defined())
    traffic.bytes += ring_bytes(collective, static_cast<std::int64_t>(tensor.nbytes()), world_);
  return call;
}

/// An all-gather of the calls' names before the calls. It has the same shape on all ranks, whatever
/// they are about to call.
void Communicator::compare_calls(const std::string& call) {
  constexpr std::int64_t kLength = 160;
  std::string text = call;
  text.resize(kLength, '\0');
  const at::Tensor mine = at::empty({1, kLength}, at::kByte);
  std::copy(text.begin(), text.end(), mine.mutable_data_ptr<std::uint8_t>());
  const at::Tensor all = start_all_gather(mine, "comparison of calls, " + call).wait();
  const auto call_of = [&](std::int64_t rank) {
    const char* const name =
        reinterpret_cast<const char*>(all.const_data_ptr<std::uint8_t>()) + rank * kLength;
    return std::string(name,
                       static_cast<std::size_t>(std::find(name, name + kLength, '\0') - name));
  };
  for (std::int64_t rank = 1; rank < world_; ++rank) {
    if (call_of(rank) == call_of(0)) continue;
    throw Error("rank " + std::to_string(rank) + " called " + call_of(rank) +
                " where rank 0 called " + call_of(0));
  }
}

void Communicator::relaunched(const TrafficByCollective& recorded) {
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    traffic_[i].calls += recorded[i].calls;
    traffic_[i].bytes += recorded[i].bytes;
    calls_ += recorded[i].calls;
  }
  watch_relaunched();
}

Pending Communicator::all_gather(const at::Tensor& local) {
  return start_all_gather(local, begin(Collective::kAllGather, local));
}

Pending Communicator::reduce_scatter(const at::Tensor& full) {
  const std::string call = begin(Collective::kReduceScatter, full);
  if (full.dim() == 0 || full.size(0) % world_ != 0) {
    throw Error("rank " + std::to_string(rank_) + ": " + call +
                ": the first size does not divide over " + counted(world_, "rank"));
  }
  return start_reduce_scatter(full, call);
}

Pending Communicator::all_reduce(at::Tensor& tensor) {
  return start_all_reduce(tensor, begin(Collective::kAllReduce, tensor));
}

Pending Communicator::broadcast(at::Tensor& tensor) {
  return start_broadcast(tensor, begin(Collective::kBroadcast, tensor));
}

void Communicator::barrier() {
  do_barrier(begin(Collective::kBarrier, {}));
}

namespace {

class SelfCommunicator final : public Communicator {
 public:
  explicit SelfCommunicator(at::Device device) : Communicator(0, 1, device) {}
  bool is_recordable() const override { return true; }

 private:
  static Pending done(const at::Tensor& tensor) { return Pending(tensor, nullptr, nullptr); }
  Pending start_all_gather(const at::Tensor& local, const std::string&) override {
    return done(local);
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string&) override {
    return done(full);
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string&) override { return done(tensor); }
  Pending start_broadcast(at::Tensor& tensor, const std::string&) override { return done(tensor); }
  void do_barrier(const std::string&) override {}
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(at::Device device) {
  return std::make_unique<SelfCommunicator>(device);
}

}  // namespace pfc
