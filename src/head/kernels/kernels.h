#pragma once

#include <cstdint>

#include "head/kernels/formulas.h"
#include "pfc/base/random.h"
#include "pfc/head/number_type.h"

/// What surrounds the head's GEMMs, on plain memory, for one thread's share of the work.
/// `formulas.h` says what each computes; here it runs in the widest vectors that the processor has,
/// chosen at run time.
///
/// A tile of logits is [classes, batch]: a class is a row, a sample is a column.
namespace pfc::kernels {

using formulas::AdamWStep;
using formulas::CatchUp;
using formulas::RoundingKey;
using formulas::SgdStep;

/// A row of a table, of either type. No data: a row of zeros that keeps nothing, which is what an
/// optimizer without momentum has.
struct Row {
  void* data = nullptr;
  NumberType type = NumberType::kFloat32;
};

/// w [dim] = N(0, deviation²), a function of (random's seed and stream, number, component).
void fill_normal(Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                 std::uint64_t number);

/// values [dim] = the row that w becomes by the steps it missed.
void read_row(Row w, Row v, const CatchUp& missed, std::int64_t dim, float* values);

/// unit [dim] = w / ‖w‖, which may be the same memory; returns 1 / ‖w‖.
float normalize_row(Row w, std::int64_t dim, float* unit);

/// tile [rows, columns], in place: cosines above the threshold become −∞.
void mask_above(float* tile, std::int64_t rows, std::int64_t columns, float threshold);

/// maximum [columns] = max(maximum, the column's largest cosine).
void column_max(const float* tile, std::int64_t rows, std::int64_t columns, float* maximum);

/// tile [rows, columns], in place: exp(scale · cosine − shift[column]), which must not exceed 1 by
/// much; sum [columns] gains each column's total, in float64: of a million small terms beside a
/// large one float32 would lose most. The exponential's own relative error is below 1.2e-7 (two
/// units in the last place); that of its argument's rounding comes on top. Results below 1.2e-38
/// are 0; NaN stays NaN.
void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, double* sum);

// Rows of a table, in place: first they are brought through the steps they missed; bfloat16 is
// rounded once, at the end, stochastically.

/// The normalisation's backward and the optimizer's step; w, v, d_unit [dim].
void update_row(Row w, Row v, const CatchUp& missed, const float* d_unit, float inverse_norm,
                std::int64_t dim, const SgdStep& step, const RoundingKey& key);

/// The same with AdamW; w, m, v, d_unit [dim].
void update_row_adamw(Row w, Row m, Row v, const float* d_unit, float inverse_norm,
                      std::int64_t dim, const AdamWStep& step, const RoundingKey& key);

/// Nothing but the missed steps; w, v [dim].
void catch_up_row(Row w, Row v, const CatchUp& missed, std::int64_t dim, const RoundingKey& key);

/// The instruction set that the calls above run on, e.g. "AVX2".
const char* instruction_set();

}  // namespace pfc::kernels
