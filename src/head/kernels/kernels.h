#pragma once

#include <cstdint>

#include "head/kernels/formulas.h"

/// What surrounds the head's GEMMs, on plain memory, for one thread's share of the work.
/// `formulas.h` says what each computes; here it runs in the widest vectors that the processor has,
/// chosen at run time.
///
/// A tile of logits is [classes, batch]: a class is a row, a sample is a column.
namespace pfc::kernels {

using formulas::AdamWStep;
using formulas::SgdStep;

/// unit [dim] = w / ‖w‖; returns 1 / ‖w‖.
float normalize_row(const float* w, std::int64_t dim, float* unit);

/// tile [rows, columns], in place: cosines above the threshold become −∞.
void mask_above(float* tile, std::int64_t rows, std::int64_t columns, float threshold);

/// maximum [columns] = max(maximum, the column's largest cosine).
void column_max(const float* tile, std::int64_t rows, std::int64_t columns, float* maximum);

/// tile [rows, columns], in place: exp(scale · cosine − shift[column]), which must not exceed 1 by
/// much; sum [columns] gains each column's total. The exponential's own relative error is
/// below 1.2e-7 (two units in the last place); that of its argument's rounding comes on top.
/// Results below 1.2e-38 are 0; NaN stays NaN.
void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, float* sum);

/// w, v [dim], in place: the normalisation's backward and the optimizer's step.
void update_row(float* w, float* v, const float* d_unit, float inverse_norm, std::int64_t dim,
                const SgdStep& step);

/// The same with AdamW: w, m, v [dim], in place.
void update_row_adamw(float* w, float* m, float* v, const float* d_unit, float inverse_norm,
                      std::int64_t dim, const AdamWStep& step);

/// The instruction set that the calls above run on, e.g. "AVX2".
const char* instruction_set();

}  // namespace pfc::kernels
