#include "pfc/train/pending_values.h"

#include <ATen/Functions.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace pfc {

PendingValues::PendingValues(const at::Tensor& values) : values_(values) {
  if (values.is_cpu()) return;
  values_ = at::empty(values.sizes(), at::TensorOptions(values.scalar_type()).pinned_memory(true));
  values_.copy_(values, /*non_blocking=*/true);
  over_ = std::make_unique<c10::Event>(values.device().type());
  over_->record(c10::impl::VirtualGuardImpl(values.device().type()).getStream(values.device()));
}

const at::Tensor& PendingValues::wait() {
  if (over_) over_->synchronize();
  over_.reset();
  return values_;
}

}  // namespace pfc
