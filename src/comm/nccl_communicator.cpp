#include "pfc/comm/nccl_communicator.h"

#include <ATen/Functions.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

namespace pfc {
namespace {

using Clock = std::chrono::steady_clock;
using WhenStuck = std::function<void(const std::string&)>;

void check(ncclResult_t result, const std::string& call) {
  if (result != ncclSuccess) throw Error(call + ": NCCL: " + ncclGetErrorString(result));
}
void check(cudaError_t result, const std::string& call) {
  if (result != cudaSuccess) throw Error(call + ": CUDA: " + cudaGetErrorString(result));
}

ncclDataType_t type_of(at::ScalarType type, const std::string& call) {
  switch (type) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kHalf:
      return ncclFloat16;
    case at::kLong:
      return ncclInt64;
    case at::kInt:
      return ncclInt32;
    case at::kByte:
      return ncclUint8;
    default:
      throw Error(call + ": NCCL cannot carry this type");
  }
}

/// A point in a stream.
class Event {
 public:
  explicit Event(cudaStream_t stream) {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event");
    check(cudaEventRecord(event_, stream), "event");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void hold(cudaStream_t stream) const { check(cudaStreamWaitEvent(stream, event_, 0), "event"); }
  bool is_over() const { return cudaEventQuery(event_) != cudaErrorNotReady; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Watches NCCL from a thread of its own. The host does not wait for collectives, and NCCL's start
/// offers no callback.
class Watch {
 public:
  Watch(at::Device device, std::chrono::seconds timeout, WhenStuck when_stuck)
      : device_(device),
        timeout_(timeout),
        when_stuck_(std::move(when_stuck)),
        thread_([this] { run(); }) {}
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// From now on, also reports errors of `comm`, which must live until `stop`.
  void look_at(ncclComm_t comm) {
    const std::lock_guard lock(mutex_);
    comm_ = comm;
  }
  void add(std::function<bool()> is_over, std::string call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back({std::move(is_over), std::move(call), Clock::now() + timeout_});
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  struct Call {
    std::function<bool()> is_over;
    std::string name;
    Clock::time_point deadline;
  };

  void run() {
    constexpr std::chrono::milliseconds kInterval{100};
    const c10::cuda::CUDAGuard guard(device_);  // otherwise each rank would take memory on GPU 0
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kInterval, [this] { return stopped_; })) {
      while (!calls_.empty() && calls_.front().is_over()) calls_.pop_front();
      if (calls_.empty()) continue;
      ncclResult_t broken = ncclSuccess;
      if (comm_ != nullptr) ncclCommGetAsyncError(comm_, &broken);
      if (broken != ncclSuccess && broken != ncclInProgress)
        return when_stuck_(calls_.front().name + ": NCCL: " + ncclGetErrorString(broken));
      if (Clock::now() > calls_.front().deadline) {
        return when_stuck_(calls_.front().name + " was not joined by all ranks within " +
                           std::to_string(timeout_.count()) +
                           " s: one of them is stuck or gone (train.timeout)");
      }
    }
  }

  at::Device device_;
  std::chrono::seconds timeout_;
  WhenStuck when_stuck_;
  ncclComm_t comm_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> calls_;
  bool stopped_ = false;
  std::thread thread_;  // declared last, because it uses the others
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const Launch& launch, const ncclUniqueId& id, std::unique_ptr<Communicator> host,
                   std::chrono::seconds timeout, WhenStuck when_stuck)
      : Communicator(launch.rank, launch.world,
                     {at::kCUDA, static_cast<c10::DeviceIndex>(gpu_of(launch.local_rank))}),
        host_(std::move(host)),
        guard_(device()),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device().index())),
        watch_(device(), timeout, std::move(when_stuck)),
        comm_(join(launch, id, watch_)) {}
  // NCCL must not wait here for ranks that may be gone.
  ~NcclCommunicator() override {
    watch_.stop();  // the watch uses what is aborted next
    ncclCommAbort(comm_);
  }
  bool is_recordable() const override { return true; }

 private:
  static ncclComm_t join(const Launch& launch, const ncclUniqueId& id, Watch& watch) {
    const std::string call = "rank " + std::to_string(launch.rank) + ": the start of NCCL";
    const auto joined = std::make_shared<std::atomic<bool>>(false);
    watch.add([joined] { return joined->load(); }, call);
    ncclComm_t comm = nullptr;
    check(ncclCommInitRank(&comm, launch.world, id, launch.rank), call);
    *joined = true;
    watch.look_at(comm);
    return comm;
  }

  /// Runs start(from, to, type, stream) after the work of the current stream. Host tensors go
  /// through the GPU.
  template <class Start>
  Pending pending(const std::string& what, const at::Tensor& from, const at::Tensor& to,
                  const Start& start) {
    const std::string call = "rank " + std::to_string(rank()) + ": " + what;
    const auto current = c10::cuda::getCurrentCUDAStream(device().index());
    const at::Tensor source = from.to(device());
    const at::Tensor target = from.is_same(to) ? source
                              : to.is_cuda()   ? to
                                               : at::empty_like(to, source.options());
    Event(current).hold(stream_);
    check(start(source, target, type_of(from.scalar_type(), call), stream_.stream()), call);
    for (const at::Tensor& used : {source, target})
      c10::cuda::CUDACachingAllocator::recordStream(used.storage().data_ptr(), stream_);
    const auto over = std::make_shared<Event>(stream_);
    // While a graph is recorded nothing is under way: its launches are watched.
    if (!is_recording()) watch_.add([over] { return over->is_over(); }, call);
    const auto finish = [over, current, target, to] {
      over->hold(current);
      if (to.is_cpu()) to.copy_(target);
    };
    return Pending(to, finish, nullptr);
  }

  Pending start_all_gather(const at::Tensor& local, const std::string& call) override {
    auto sizes = local.sizes().vec();
    sizes.at(0) *= world();
    return pending(call, local, at::empty(sizes, local.options()),
                   [this](const at::Tensor& from, const at::Tensor& to, ncclDataType_t type,
                          cudaStream_t stream) {
                     return ncclAllGather(from.const_data_ptr(), to.mutable_data_ptr(), count(from),
                                          type, comm_, stream);
                   });
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) override {
    auto sizes = full.sizes().vec();
    sizes.at(0) /= world();
    return pending(call, full, at::empty(sizes, full.options()),
                   [this](const at::Tensor& from, const at::Tensor& to, ncclDataType_t type,
                          cudaStream_t stream) {
                     return ncclReduceScatter(from.const_data_ptr(), to.mutable_data_ptr(),
                                              count(to), type, ncclSum, comm_, stream);
                   });
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string& call) override {
    return pending(call, tensor, tensor,
                   [this](const at::Tensor& from, const at::Tensor& to, ncclDataType_t type,
                          cudaStream_t stream) {
                     return ncclAllReduce(from.const_data_ptr(), to.mutable_data_ptr(), count(from),
                                          type, ncclSum, comm_, stream);
                   });
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string& call) override {
    return pending(call, tensor, tensor,
                   [this](const at::Tensor& from, const at::Tensor& to, ncclDataType_t type,
                          cudaStream_t stream) {
                     return ncclBroadcast(from.const_data_ptr(), to.mutable_data_ptr(), count(from),
                                          type, 0, comm_, stream);
                   });
  }
  void do_barrier(const std::string& call) override {
    at::Tensor one = at::ones({1}, at::TensorOptions(device()));
    start_all_reduce(one, call).wait();
    check(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream(device().index())), call);
  }

  bool is_recording() const override {
    return c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None;
  }
  void watch_relaunched() override {
    const auto over =
        std::make_shared<Event>(c10::cuda::getCurrentCUDAStream(device().index()).stream());
    watch_.add([over] { return over->is_over(); },
               "rank " + std::to_string(rank()) + ": the recorded collectives of a step");
  }

  static std::size_t count(const at::Tensor& tensor) {
    return static_cast<std::size_t>(tensor.numel());
  }

  std::unique_ptr<Communicator> host_;
  c10::cuda::CUDAGuard guard_;
  c10::cuda::CUDAStream stream_;
  Watch watch_;
  ncclComm_t comm_;
};

ncclUniqueId share_id(Communicator& host) {
  ncclUniqueId id{};
  if (host.is_first()) check(ncclGetUniqueId(&id), "start");
  at::Tensor bytes = at::empty({sizeof(id)}, at::kByte);
  std::memcpy(bytes.data_ptr(), &id, sizeof(id));
  host.broadcast(bytes).wait();
  std::memcpy(&id, bytes.const_data_ptr(), sizeof(id));
  return id;
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch,
                                                     std::unique_ptr<Communicator> host,
                                                     std::chrono::seconds timeout,
                                                     WhenStuck when_stuck) {
  if (gpus() == 0)
    throw Error("rank " + std::to_string(launch.rank) + ": found no GPU on its machine");
  const ncclUniqueId id = share_id(*host);
  return std::make_unique<NcclCommunicator>(launch, id, std::move(host), timeout,
                                            std::move(when_stuck));
}

}  // namespace pfc
