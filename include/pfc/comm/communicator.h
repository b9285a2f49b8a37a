#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "pfc/base/error.h"

namespace pfc {

/// Another rank has ended, or cannot be reached. Why it ended is for that rank to tell.
class RankLost : public Error {
 public:
  using Error::Error;
};

/// A collective under way. It cannot be dropped by mistake: `wait` returns its result, and the
/// destructor waits too.
class [[nodiscard]] Pending {
 public:
  /// `finish` completes the collective. `poll` lets it progress, because MPI works only inside its
  /// calls; it may be empty.
  Pending(at::Tensor result, std::function<void()> finish, std::function<void()> poll);
  /// Waits and ignores exceptions, since the next collective meets the same failure. While an
  /// exception is under way it does not wait: a rank that fails must not wait for the others.
  ~Pending();
  Pending(Pending&& other) noexcept;
  Pending& operator=(Pending&& other) = delete;

  at::Tensor wait();
  void poll();

 private:
  at::Tensor result_;
  std::function<void()> finish_, poll_;
  int exceptions_;  ///< exceptions under way when this began
};

enum class Collective { kAllGather, kReduceScatter, kAllReduce, kBroadcast, kBarrier };
inline constexpr std::array kCollectives = {Collective::kAllGather, Collective::kReduceScatter,
                                            Collective::kAllReduce, Collective::kBroadcast,
                                            Collective::kBarrier};
std::string_view name_of(Collective collective);

/// What a rank has sent with one kind of collective.
struct Traffic {
  std::int64_t calls = 0;
  /// Counted as a ring sends them, which is the least that this many ranks need. For n bytes that a
  /// rank gives: (W − 1)·n in an all-gather, n·(W − 1)/W in a reduce-scatter and in a broadcast,
  /// twice that in an all-reduce.
  std::int64_t bytes = 0;
};
using TrafficByCollective = std::array<Traffic, kCollectives.size()>;

/// The ranks that train together, and the collectives of a training step. Every rank calls the same
/// collectives in the same order, with contiguous tensors of equal shapes and types. A tensor must
/// not change before its collective was waited for. The loss is the mean over the global batch, so
/// gradients are *summed* over ranks.
///
/// In a build with PFC_CHECK_COLLECTIVES (the `dev` preset), each call is first compared over the
/// ranks; a difference throws on all of them, naming rank and call. If another rank does not join a
/// collective within the back end's timeout, Error is thrown with the rank and the call.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world() const { return world_; }
  /// Whether this rank writes the files that a run writes only once.
  bool is_first() const { return rank_ == 0; }
  /// The device where this rank computes. Tensors of collectives lie there. Tensors in host memory
  /// are accepted too, but waiting for them then waits for the device.
  at::Device device() const { return device_; }

  /// local [b, …] -> [W·b, …], in the order of ranks.
  Pending all_gather(const at::Tensor& local);
  /// full [W·b, …] -> [b, …]: this rank's part of the sum over ranks.
  Pending reduce_scatter(const at::Tensor& full);
  /// In place: the sum over ranks.
  Pending all_reduce(at::Tensor& tensor);
  /// In place: rank 0's values.
  Pending broadcast(at::Tensor& tensor);
  void barrier();

  /// What was sent so far, in the order of kCollectives.
  const TrafficByCollective& traffic() const { return traffic_; }

  /// Whether a CUDA graph can hold its collectives.
  virtual bool is_recordable() const { return false; }
  /// A graph that holds collectives with this traffic was put on the current stream again.
  void relaunched(const TrafficByCollective& recorded);

 protected:
  Communicator(int rank, int world, at::Device device = at::kCPU)
      : rank_(rank), world_(world), device_(device) {}

  // What a back end implements. `call` names the collective, its tensor and its number among this
  // rank's calls, for messages.
  virtual Pending start_all_gather(const at::Tensor& local, const std::string& call) = 0;
  virtual Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) = 0;
  virtual Pending start_all_reduce(at::Tensor& tensor, const std::string& call) = 0;
  virtual Pending start_broadcast(at::Tensor& tensor, const std::string& call) = 0;
  virtual void do_barrier(const std::string& call) = 0;
  // What a back end implements that is recordable.
  virtual bool is_recording() const { return false; }
  virtual void watch_relaunched() {}

 private:
  friend class StagedCommunicator;  // it hands its calls on to another communicator

  std::string begin(Collective collective, const at::Tensor& tensor);
  void compare_calls(const std::string& call);

  int rank_, world_;
  at::Device device_;
  std::int64_t calls_ = 0;
  TrafficByCollective traffic_;
};

/// A world of one rank.
std::unique_ptr<Communicator> make_self_communicator(at::Device device = at::kCPU);

}  // namespace pfc
