#include "model/synchronised_norms.h"

#include <ATen/ops/batch_norm_compositeimplicitautograd_dispatch.h>
#include <torch/library.h>
#include <torch/types.h>

#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

#include "model/batch_norm.h"

namespace pfc {
namespace {

using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

/// The communicators by the running means of batch normalisations. Ranks may be threads.
class SynchronisedNorms {
 public:
  void add(const at::Tensor& key, Communicator& comm) {
    const std::unique_lock lock(mutex_);
    std::erase_if(all_, [](const auto& entry) { return entry.second.key.expired(); });
    all_.insert_or_assign(key.unsafeGetTensorImpl(),
                          Entry{WeakTensor(key.getIntrusivePtr()), &comm});
  }

  /// Null where there is none.
  Communicator* find(const at::Tensor& key) const {
    const std::shared_lock lock(mutex_);
    const auto found = all_.find(key.unsafeGetTensorImpl());
    return found == all_.end() ? nullptr : found->second.comm;
  }

 private:
  struct Entry {
    WeakTensor key;  ///< while it is held, no other tensor has this address
    Communicator* comm;
  };

  mutable std::shared_mutex mutex_;
  std::unordered_map<const c10::TensorImpl*, Entry> all_;
};

SynchronisedNorms& synchronised_norms() {
  static SynchronisedNorms norms;
  return norms;
}

using MaybeTensor = std::optional<at::Tensor>;

bool is_given(const MaybeTensor& tensor) {
  return tensor.has_value() && tensor->defined();
}

/// In front of aten::batch_norm.
at::Tensor batch_norm(const at::Tensor& x, const MaybeTensor& weight, const MaybeTensor& bias,
                      const MaybeTensor& running_mean, const MaybeTensor& running_var,
                      bool training, double momentum, double epsilon, bool cudnn_enabled) {
  Communicator* comm =
      training && is_given(running_mean) ? synchronised_norms().find(*running_mean) : nullptr;
  if (comm == nullptr) {
    return at::compositeimplicitautograd::batch_norm(x, weight, bias, running_mean, running_var,
                                                     training, momentum, epsilon, cudnn_enabled);
  }
  const auto or_filled = [&](const MaybeTensor& tensor, double value) {
    const auto type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return is_given(tensor) ? *tensor : at::full({x.size(1)}, value, x.options().dtype(type));
  };
  return batch_norm_prelu(x,
                          {or_filled(weight, 1), or_filled(bias, 0), *running_mean, *running_var,
                           momentum, epsilon, comm},
                          {});
}

/// Every call that may be differentiated passes here, on a CPU or a GPU.
void stand_before_batch_norm() {
  static const auto register_for = [](c10::DispatchKey key) {
    torch::Library library(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
    library.impl("batch_norm", &batch_norm);
    return library;
  };
  static const torch::Library cpu = register_for(c10::DispatchKey::AutogradCPU);
  static const torch::Library cuda = register_for(c10::DispatchKey::AutogradCUDA);
}

}  // namespace

void synchronise_norm(const at::Tensor& running_mean, Communicator& comm) {
  stand_before_batch_norm();
  synchronised_norms().add(running_mean, comm);
}

}  // namespace pfc
