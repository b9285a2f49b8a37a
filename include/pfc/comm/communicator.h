#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace pfc {

/// A collective under way. It cannot be dropped by mistake: `wait` gives its result, and the
/// destructor waits.
class [[nodiscard]] Pending {
 public:
  /// `finish` completes the collective; `poll` lets it progress (MPI moves only inside its calls),
  /// may be empty.
  Pending(at::Tensor result, std::function<void()> finish, std::function<void()> poll);
  /// Waits, and swallows what is thrown, since the next collective meets the same failure. While an
  /// exception is under way it does not: a rank that fails must not wait for the others.
  ~Pending();
  Pending(Pending&& other) noexcept;
  Pending& operator=(Pending&& other) = delete;

  at::Tensor wait();
  void poll();

 private:
  at::Tensor result_;
  std::function<void()> finish_, poll_;
  int exceptions_;  ///< under way when this began
};

enum class Collective { kAllGather, kReduceScatter, kAllReduce, kBroadcast, kBarrier };
inline constexpr std::array kCollectives = {Collective::kAllGather, Collective::kReduceScatter,
                                            Collective::kAllReduce, Collective::kBroadcast,
                                            Collective::kBarrier};
std::string_view name_of(Collective collective);

/// What a rank has sent with one kind of collective.
struct Traffic {
  std::int64_t calls = 0;
  /// As a ring sends them, the least that this many ranks can do with: of n bytes that a rank
  /// gives, (W − 1)·n in an all-gather, n·(W − 1)/W in a reduce-scatter and a broadcast, twice that
  /// in an all-reduce.
  std::int64_t bytes = 0;
};
using TrafficByCollective = std::array<Traffic, kCollectives.size()>;

/// The ranks that train together, and the collectives of a training step. Every rank calls each
/// collective in the same order with tensors of equal shapes and types, contiguous; a tensor must
/// not change before its collective is waited for.
/// Loss is the mean over the global batch, so gradients are *summed* over ranks.
///
/// Built with PFC_CHECK_COLLECTIVES (the `dev` preset), each call is first compared over the ranks,
/// and a difference throws on all of them, naming rank and call. A collective that another rank
/// does not join within the back end's timeout throws Error with the rank and the call.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world() const { return world_; }
  /// Whether this is the rank that writes what a run leaves once.
  bool is_first() const { return rank_ == 0; }
  /// Where this rank computes. Tensors of collectives lie there; the host's are carried too, and
  /// waiting for them then waits for the device.
  at::Device device() const { return device_; }

  /// local [b, …] -> [W·b, …], ranks in order.
  Pending all_gather(const at::Tensor& local);
  /// full [W·b, …] -> [b, …]: this rank's part of the sum over ranks.
  Pending reduce_scatter(const at::Tensor& full);
  /// In place: the sum over ranks.
  Pending all_reduce(at::Tensor& tensor);
  /// In place: rank 0's values.
  Pending broadcast(at::Tensor& tensor);
  void barrier();

  /// So far, in the order of kCollectives.
  const TrafficByCollective& traffic() const { return traffic_; }

 protected:
  Communicator(int rank, int world, at::Device device = at::kCPU)
      : rank_(rank), world_(world), device_(device) {}

  // What a back end does. `call` names the collective, its tensor and its number among this rank's,
  // for messages.
  virtual Pending start_all_gather(const at::Tensor& local, const std::string& call) = 0;
  virtual Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) = 0;
  virtual Pending start_all_reduce(at::Tensor& tensor, const std::string& call) = 0;
  virtual Pending start_broadcast(at::Tensor& tensor, const std::string& call) = 0;
  virtual void do_barrier(const std::string& call) = 0;

 private:
  std::string begin(Collective collective, const at::Tensor& tensor);
  void compare_calls(const std::string& call, const at::Tensor& tensor);

  int rank_, world_;
  at::Device device_;
  std::int64_t calls_ = 0;
  TrafficByCollective traffic_;
};

/// A world of one.
std::unique_ptr<Communicator> make_self_communicator(at::Device device = at::kCPU);

}  // namespace pfc
