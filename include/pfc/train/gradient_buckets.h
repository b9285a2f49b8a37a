#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "pfc/comm/communicator.h"

namespace pfc {

/// The gradients of the backbone, summed over ranks while the backward pass still runs. They lie
/// one behind another in fixed buckets, in the reverse of the parameters' order, which is about
/// that of the backward pass; a bucket is sent when the last of its gradients is there, buckets in
/// order, so that every rank sends the same.
///
///     gradients.zero();
///     gradients.send_when_full();   // before the step's last backward pass
///     x.backward(dx);
///     gradients.finish();           // now each parameter's gradient is the sum over ranks
class GradientBuckets {
 public:
  static constexpr std::int64_t kBucketBytes = std::int64_t{25} << 20;

  /// Gives each of `parameters` that wants one a gradient; both must outlive this. Parameters must
  /// be of one type.
  GradientBuckets(const std::vector<at::Tensor>& parameters, Communicator& comm,
                  std::int64_t bucket_bytes = kBucketBytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// Sets all gradients to 0; backward passes then add to them.
  void zero();
  /// From here on, until `finish`, a bucket travels as soon as it is full.
  void send_when_full();
  /// Sends what is left and waits for all.
  void finish();

  /// Of all gradients together, a float32 scalar.
  at::Tensor norm() const;
  /// The buckets' gradients, flat.
  std::vector<at::Tensor> flat() const;
  /// Times a factor, which may be on the device.
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
  std::size_t next_ = 0;  ///< bucket to send
};

}  // namespace pfc
