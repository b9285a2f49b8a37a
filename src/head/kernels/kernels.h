#pragma once

#include <array>
#include <cstdint>

#include "head/kernels/formulas.h"
#include "head/kernels/row_rules.h"
#include "pfc/base/random.h"
#include "pfc/head/loss.h"
#include "pfc/head/number_type.h"

/// The work around the head's GEMMs, on plain memory, for one thread's share. `formulas.h` says
/// what each function computes; here it runs in the widest vectors that the processor has, chosen
/// at run time.
///
/// A tile of logits is [classes, batch]: a class is a row, a sample is a column.
namespace pfc::kernels {

using formulas::RoundingKey;

/// A row of numbers, of either type. No data: zeros, and what is written is lost.
struct Row {
  void* data = nullptr;
  NumberType type = NumberType::kFloat32;
};

/// A class centre with what its rule keeps beside it; the states are of one type.
struct TableRow {
  Row w;
  std::array<Row, kMostStates> states = {};
  CatchUp missed = {};
};

/// w [dim] = N(0, deviation²), a function of (random's seed and stream, number, component).
void fill_normal(Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                 std::uint64_t number);

/// values [dim] = the centre after the steps that it missed.
void read_row(const TableRow& row, std::int64_t dim, float* values);

/// unit [dim] = w / ‖w‖, which may be the same memory; returns 1 / ‖w‖.
float normalize_row(Row w, std::int64_t dim, float* unit);

/// What becomes of the cosines of classes that are not a sample's own (formulas::other_cosine).
struct Others {
  Loss loss = CosFace();
  float filter = kNoFilter;        ///< cosines above it leave the softmax
  const float* bounds = nullptr;   ///< [columns] of a loss that bends them
  const double* moving = nullptr;  ///< its moving numbers
};

/// maximum [columns] = max(maximum, the column's largest cosine), of what `others` makes of them.
void column_max(const float* tile, std::int64_t rows, std::int64_t columns, const Others& others,
                float* maximum);

/// tile [rows, columns], in place: p = exp(scale · cosine − shift[column]), which must not exceed 1
/// by much, of what `others` makes of the cosines; where that has a slope, the tile holds p ·
/// slope. sum [columns] gains each column's total of p, in float64: of a million small terms beside
/// a large one float32 would lose most. The exponential's own relative error is below 1.2e-7 (two
/// units in the last place); that of its argument's rounding comes on top. Results below 1.2e-38
/// are 0; NaN stays NaN.
void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, const Others& others, double* sum);

/// tile [rows, columns], in place: of each `group` of consecutive rows, the centres of one class,
/// the largest cosine stays in a column; the others become −∞. Of equal ones the first stays.
void keep_nearest(float* tile, std::int64_t rows, std::int64_t columns, std::int64_t group);

// These change rows of a table in place. Rows are first brought through their missed steps;
// bfloat16 is rounded once, at the end, stochastically.

/// An update of one row.
struct RowUpdate {
  CenterOptimizer optimizer = {};
  double lr = 0;
  std::int32_t number = 1;  ///< the row's how-many-th it is, where the rule counts them
  RoundingKey key = {};
};

/// The normalisation's backward and the rule's update. d_unit [dim] is the loss's gradient by the
/// unit row; inverse_norm = 1 / ‖w‖.
void update_row(const TableRow& row, const RowUpdate& update, const float* d_unit,
                float inverse_norm, std::int64_t dim);

/// Nothing but the missed steps.
void catch_up_row(const TableRow& row, std::int64_t dim, const RoundingKey& key);

/// The instruction set that the functions above use, e.g. "AVX2".
const char* instruction_set();

}  // namespace pfc::kernels
