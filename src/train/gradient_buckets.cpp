#include "pfc/train/gradient_buckets.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <functional>

namespace pfc {
namespace {

/// The norm of numbers [n] in float64: first of each row, then over the rows. A single float32 sum
/// of some millions of squares would be a thousandth too low.
at::Tensor norm_of(const at::Tensor& numbers) {
  constexpr std::int64_t kRow = 1024;
  const std::int64_t whole = numbers.size(0) / kRow * kRow;
  const at::Tensor rows = numbers.narrow(0, 0, whole).view({-1, kRow}).norm(2, 1);
  const at::Tensor rest = numbers.narrow(0, whole, numbers.size(0) - whole).norm().view({1});
  return at::cat({rows, rest}).to(at::kDouble).norm();
}

}  // namespace

/// Runs after a backward pass has added to a parameter's gradient.
class GradientBuckets::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Hook(std::function<void()> arrived) : arrived_(std::move(arrived)) {}
  void operator()(const at::Tensor&) override { arrived_(); }

 private:
  std::function<void()> arrived_;
};

GradientBuckets::GradientBuckets(const std::vector<at::Tensor>& parameters, Communicator& comm,
                                 std::int64_t bucket_bytes)
    : comm_(comm) {
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    if (parameter->requires_grad()) parameters_.push_back(*parameter);
  }
  for (std::size_t first = 0; first < parameters_.size();) {
    std::size_t last = first;
    std::int64_t size = 0;
    while (
        last < parameters_.size() &&
        (last == first ||
         (size + parameters_[last].numel()) * parameters_[last].element_size() <= bucket_bytes)) {
      size += parameters_[last++].numel();
    }
    Bucket& bucket = *buckets_.emplace_back(std::make_unique<Bucket>());
    bucket.gradients = at::zeros({size}, parameters_[first].options().requires_grad(false));
    bucket.parameters = static_cast<std::int64_t>(last - first);
    for (std::int64_t offset = 0; first < last; ++first) {
      at::Tensor& parameter = parameters_[first];
      const std::int64_t length = parameter.numel();
      // In the memory order of the parameter, which may be channels_last.
      parameter.mutable_grad() = bucket.gradients.narrow(0, offset, length)
                                     .as_strided(parameter.sizes(), parameter.strides());
      offset += length;
      torch::autograd::impl::set_post_acc_grad_hooks(
          parameter, std::make_unique<Hook>([this, &bucket] { arrived(bucket); }));
    }
  }
}

GradientBuckets::~GradientBuckets() {
  for (at::Tensor& parameter : parameters_) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
    parameter.mutable_grad() = at::Tensor();
  }
}

void GradientBuckets::zero() {
  for (const auto& bucket : buckets_) bucket->gradients.zero_();
}

std::vector<at::Tensor> GradientBuckets::flat() const {
  std::vector<at::Tensor> all;
  for (const auto& bucket : buckets_) all.push_back(bucket->gradients);
  return all;
}

at::Tensor GradientBuckets::norm() const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms;
  for (const auto& bucket : buckets_) norms.push_back(norm_of(bucket->gradients));
  return at::stack(norms).norm();
}

void GradientBuckets::scale(const at::Tensor& factor) {
  for (const auto& bucket : buckets_) bucket->gradients.mul_(factor);
}

void GradientBuckets::send_when_full() {
  sending_ = true;
  next_ = 0;
  for (const auto& bucket : buckets_) bucket->missing = bucket->parameters;
}

void GradientBuckets::arrived(Bucket& bucket) {
  if (!sending_) return;
  --bucket.missing;
  for (std::size_t i = 0; i < next_; ++i) buckets_[i]->sum->poll();
  while (next_ < buckets_.size() && buckets_[next_]->missing == 0) send(*buckets_[next_++]);
}

void GradientBuckets::send(Bucket& bucket) {
  bucket.sum.emplace(comm_.all_reduce(bucket.gradients));
}

void GradientBuckets::finish() {
  while (next_ < buckets_.size()) send(*buckets_[next_++]);
  for (const auto& bucket : buckets_) {
    bucket->sum->wait();
    bucket->sum.reset();
  }
  sending_ = false;
}

}  // namespace pfc
