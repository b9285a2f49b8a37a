#pragma once

#include <ATen/core/Tensor.h>

#include "head/kernels/kernels_cuda.h"
#include "head/table_state.h"

namespace pfc {

/// The kernels' view of a table in a GPU's memory. `missed`, on that GPU, is its
/// StepHistory::missed() or undefined.
kernels::cuda::Table view_of(const TableState& table, const at::Tensor& missed);

/// The kernels' view of a tensor that GEMMs read.
kernels::cuda::Operand operand(const at::Tensor& tensor);

/// The number type of a table's part; float32 if it is undefined.
NumberType number_type_of(const at::Tensor& part);

}  // namespace pfc
