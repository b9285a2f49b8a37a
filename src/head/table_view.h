#pragma once

#include <ATen/core/Tensor.h>

#include "head/kernels/kernels_cuda.h"
#include "pfc/head/center_table.h"

namespace pfc {

/// A table in a GPU's memory, for the kernels. `missed`, on that GPU, is its CenterTable::missed()
/// or undefined.
kernels::cuda::Table view_of(const CenterTable& table, const at::Tensor& missed);

/// A tensor as the kernels take what GEMMs read.
kernels::cuda::Operand operand(const at::Tensor& tensor);

/// How a table's part stores its numbers; float32 where it is undefined.
NumberType number_type_of(const at::Tensor& part);

}  // namespace pfc
