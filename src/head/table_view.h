#pragma once

#include <ATen/core/Tensor.h>

#include "head/kernels/kernels_cuda.h"
#include "pfc/head/center_table.h"

namespace pfc {

/// A table in a GPU's memory, for the kernels. `missed`, on that GPU, is its CenterTable::missed()
/// or undefined.
kernels::cuda::Table view_of(const CenterTable& table, const at::Tensor& missed);

}  // namespace pfc
