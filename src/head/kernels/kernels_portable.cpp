#include <algorithm>
#include <array>
#include <type_traits>
#include <variant>
#include <vector>

#include "head/kernels/kernels.h"

// Replaces kernels_cpu.cpp if there is no Highway: one scalar at a time.

namespace pfc::kernels {
namespace {

using formulas::BFloat16;

/// A row as float32 numbers; zeros if it stores nothing.
std::vector<float> numbers_of(Row row, std::int64_t dim) {
  std::vector<float> values(static_cast<std::size_t>(dim));
  if (row.data == nullptr) return values;
  for (std::size_t j = 0; j < values.size(); ++j) {
    values[j] = row.type == NumberType::kFloat32
                    ? static_cast<const float*>(row.data)[j]
                    : formulas::to_float(static_cast<const BFloat16*>(row.data)[j]);
  }
  return values;
}

/// Writes them back; `bits(j)` gives 16 random bits for bfloat16's rounding.
template <class Bits>
void put(Row row, const std::vector<float>& values, const Bits& bits) {
  if (row.data == nullptr) return;
  for (std::size_t j = 0; j < values.size(); ++j) {
    if (row.type == NumberType::kFloat32) {
      static_cast<float*>(row.data)[j] = values[j];
    } else {
      static_cast<BFloat16*>(row.data)[j] =
          formulas::round_stochastically(values[j], static_cast<std::uint16_t>(bits(j)));
    }
  }
}

/// The lower or the upper 16 of a component's random bits.
auto lower(const RoundingKey& key) {
  return [key](std::size_t j) {
    return formulas::rounding_bits(key, static_cast<std::uint32_t>(j)) & 0xffffu;
  };
}
auto upper(const RoundingKey& key) {
  return [key](std::size_t j) {
    return formulas::rounding_bits(key, static_cast<std::uint32_t>(j)) >> 16;
  };
}

}  // namespace

void fill_normal(Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                 std::uint64_t number) {
  for (std::int64_t j = 0; j < dim; ++j) {
    const auto words = random.words(number, static_cast<std::uint64_t>(j / 4 * 4));
    const auto pair = static_cast<std::size_t>(j % 4 / 2 * 2);
    const auto normal = formulas::normal_pair<float>(words[pair], words[pair + 1]);
    const float value = deviation * normal[static_cast<std::size_t>(j % 2)];
    if (w.type == NumberType::kFloat32) {
      static_cast<float*>(w.data)[j] = value;
    } else {
      static_cast<BFloat16*>(w.data)[j] = formulas::round_to_nearest(value);
    }
  }
}

void read_row(const TableRow& row, std::int64_t dim, float* values) {
  std::vector<float> x = numbers_of(row.w, dim), y = numbers_of(row.states[0], dim);
  rules::catch_up_row<float>(x.data(), y.data(), dim, row.missed);
  std::copy(x.begin(), x.end(), values);
}

float normalize_row(Row w, std::int64_t dim, float* unit) {
  return formulas::normalize_row(numbers_of(w, dim).data(), dim, unit);
}

namespace {

/// Calls body(column, formulas::other_cosine of the cosine there) for each place of a tile.
template <class Body>
void for_each_other(const float* tile, std::int64_t rows, std::int64_t columns,
                    const Others& others, const Body& body) {
  std::visit(
      [&]<class L>(const L& loss) {
        const Moving<L> moving = moving_numbers<L>(others.moving);
        for (std::int64_t i = 0; i < rows * columns; ++i) {
          const std::int64_t column = i % columns;
          const float bound = others.bounds == nullptr ? 0 : others.bounds[column];
          body(i, column, formulas::other_cosine(loss, tile[i], others.filter, bound, moving));
        }
      },
      others.loss);
}

}  // namespace

void column_max(const float* tile, std::int64_t rows, std::int64_t columns, const Others& others,
                float* maximum) {
  for_each_other(tile, rows, columns, others, [&](std::int64_t, std::int64_t column, auto other) {
    maximum[column] = std::max(maximum[column], other.value);
  });
}

void exp_columns(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                 const float* shift, const Others& others, double* sum) {
  for_each_other(tile, rows, columns, others, [&](std::int64_t i, std::int64_t column, auto other) {
    float p = formulas::shifted_exp(other.value, scale, shift[column]);
    if (p < std::numeric_limits<float>::min()) p = 0;
    sum[column] += static_cast<double>(p);
    tile[i] = p * other.slope;
  });
}

void keep_nearest(float* tile, std::int64_t rows, std::int64_t columns, std::int64_t group) {
  for (std::int64_t first = 0; first < rows; first += group) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const auto at = [&](std::int64_t i) -> float& { return tile[(first + i) * columns + j]; };
      std::int64_t nearest = 0;
      for (std::int64_t i = 1; i < group; ++i) nearest = at(i) > at(nearest) ? i : nearest;
      for (std::int64_t i = 0; i < group; ++i) {
        if (i != nearest && !std::isnan(at(i))) at(i) = -std::numeric_limits<float>::infinity();
      }
    }
  }
}

void update_row(const TableRow& row, const RowUpdate& update, const float* d_unit,
                float inverse_norm, std::int64_t dim) {
  rules::with_rule(update.optimizer.kind, [&]<class Rule>(std::type_identity<Rule>) {
    std::vector<float> x = numbers_of(row.w, dim);
    std::array<std::vector<float>, Rule::kStates.size()> states;
    std::array<float*, Rule::kStates.size()> numbers;
    for (std::size_t k = 0; k < states.size(); ++k) {
      states[k] = numbers_of(row.states[k], dim);
      numbers[k] = states[k].data();
    }
    if constexpr (CatchesUp<Rule>)
      rules::catch_up_row<float>(x.data(), numbers[0], dim, row.missed);
    rules::update_row(x.data(), numbers, d_unit, inverse_norm, dim,
                      Rule(update.optimizer, update.lr, update.number));
    put(row.w, x, lower(update.key));
    const RoundingKey other{update.key.second, update.key.first};
    if constexpr (states.size() > 0) put(row.states[0], states[0], upper(update.key));
    if constexpr (states.size() > 1) put(row.states[1], states[1], lower(other));
    if constexpr (states.size() > 2) put(row.states[2], states[2], upper(other));
  });
}

void catch_up_row(const TableRow& row, std::int64_t dim, const RoundingKey& key) {
  std::vector<float> x = numbers_of(row.w, dim), y = numbers_of(row.states[0], dim);
  rules::catch_up_row<float>(x.data(), y.data(), dim, row.missed);
  put(row.w, x, lower(key));
  put(row.states[0], y, upper(key));
}

const char* instruction_set() {
  return "scalar";
}

}  // namespace pfc::kernels
