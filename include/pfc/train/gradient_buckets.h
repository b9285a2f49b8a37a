#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "pfc/comm/communicator.h"

namespace pfc {

/// The gradients of the backbone, summed over ranks while the backward pass is still running. They
/// lie one after another in fixed buckets, in the reverse order of the parameters, which is roughly
/// the order of the backward pass. A bucket is sent when its last gradient has arrived, and buckets
/// are sent in order, so that every rank sends the same ones.
///
///     gradients.zero();
///     gradients.send_when_full();   // before the step's last backward pass
///     x.backward(dx);
///     gradients.finish();           // now each parameter's gradient is the sum over ranks
class GradientBuckets {
 public:
  static constexpr std::int64_t kBucketBytes = std::int64_t{25} << 20;

  /// Gives a gradient to each of `parameters` that requires one; both must outlive this object. All
  /// parameters must have the same type.
  GradientBuckets(const std::vector<at::Tensor>& parameters, Communicator& comm,
                  std::int64_t bucket_bytes = kBucketBytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Sets all gradients to 0; backward passes then add to them.
  void zero();
  /// From now until `finish`, a bucket is sent as soon as it is full.
  void send_when_full();
  /// Sends the remaining buckets and waits for all.
  void finish();

  /// The norm of all gradients together, a float32 scalar.
  at::Tensor norm() const;
  /// The buckets' gradients, flat.
  std::vector<at::Tensor> flat() const;
  /// Multiplies all gradients by a factor, which may be on the device.
  void scale(const at::Tensor& factor);

  std::int64_t buckets() const { return std::ssize(buckets_); }

 private:
  class Hook;
  struct Bucket {
    at::Tensor gradients;  ///< [sum of the parameters' sizes]
    std::int64_t parameters = 0, missing = 0;
    std::optional<Pending> sum;
  };

  void arrived(Bucket& bucket);
  void send(Bucket& bucket);

  Communicator& comm_;
  std::vector<at::Tensor> parameters_;
  std::vector<std::unique_ptr<Bucket>> buckets_;
  bool sending_ = false;
  std::size_t next_ = 0;  ///< the next bucket to send
};

}  // namespace pfc
