#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

namespace pfc {

/// A collective under way. It cannot be dropped by mistake: `wait` gives its result, and the
/// destructor waits.
class [[nodiscard]] Pending {
 public:
  /// `finish` completes the collective; `poll` lets it progress (MPI moves only inside its calls),
  /// may be empty.
  Pending(at::Tensor result, std::function<void()> finish, std::function<void()> poll);
  ~Pending();
  Pending(Pending&& other) noexcept;
  Pending& operator=(Pending&& other) = delete;

  at::Tensor wait();
  void poll();

 private:
  at::Tensor result_;
  std::function<void()> finish_, poll_;
};

/// The ranks that train together, and the collectives of a training step. Every rank calls each
/// collective in the same order with equal shapes. Loss is the mean over the global batch, so
/// gradients are *summed* over ranks.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;

  /// local [b, …] -> [W·b, …], ranks in order.
  virtual Pending all_gather(const at::Tensor& local) = 0;
  /// full [W·b, …] -> [b, …]: this rank's part of the sum over ranks.
  virtual Pending reduce_scatter(const at::Tensor& full) = 0;
  /// In place: the sum over ranks.
  virtual Pending all_reduce(at::Tensor& tensor) = 0;
  /// In place: rank 0's values.
  virtual Pending broadcast(at::Tensor& tensor) = 0;
  virtual void barrier() = 0;
};

/// A world of one.
std::unique_ptr<Communicator> make_self_communicator();

}  // namespace pfc
