#include "head/host_rows.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "pfc/base/random.h"

namespace pfc {
namespace {

constexpr std::int64_t kRowsAThread = 64;  // fewer are not worth waking one

/// Asks for the memory of a row while another one is worked on: rows lie far apart, and the
/// processor guesses a row's second half only once it has met the first.
void prefetch(const kernels::Row& row, std::int64_t dim) {
  constexpr std::int64_t kLine = 64;
  const auto* const bytes = static_cast<const char*>(row.data);
  const std::int64_t size = bytes == nullptr ? 0 : dim * bytes_of(row.type);
  for (std::int64_t at = 0; at < size; at += kLine) __builtin_prefetch(bytes + at);
}

}  // namespace

HostRows::Numbers::Numbers(const at::Tensor& numbers)
    : data_(static_cast<std::byte*>(numbers.data_ptr())),
      stride_(static_cast<std::int64_t>(numbers.element_size()) * numbers.size(1)),
      type_(numbers.scalar_type() == at::kBFloat16 ? NumberType::kBFloat16 : NumberType::kFloat32) {
}

HostRows::HostRows(TableState& table)
    : table_(table), dim_(table.options.dim), weights_(table.weights) {
  for (std::size_t i = 0; i < table.states.size(); ++i) states_[i] = Numbers(table.states[i]);
}

kernels::TableRow HostRows::whole(LocalRow row) const {
  kernels::TableRow whole{.w = weights_[row]};
  for (std::size_t i = 0; i < states_.size(); ++i) whole.states[i] = states_[i][row];
  if (table_.history.is_kept()) whole.missed = table_.history.missed(row);
  return whole;
}

kernels::RoundingKey HostRows::rounding_key(LocalRow row, std::int64_t change) const {
  const CounterRandom random(table_.options.seed, RandomStream::kRounding);
  const auto words = random.words(static_cast<std::uint64_t>(table_.shard.global(row).v),
                                  static_cast<std::uint64_t>(change));
  return {words[0], words[1]};
}

void HostRows::gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                                const at::Tensor& inverse_norm) const {
  const bool catches_up = table_.history.is_kept();
  float* out = unit.data_ptr<float>();
  float* inverse = inverse_norm.data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i, out += dim_, ++inverse) {
    if (i + 1 < rows.size()) {
      prefetch(weights_[rows[i + 1]], dim_);
      if (catches_up) prefetch(states_[0][rows[i + 1]], dim_);
    }
    kernels::Row from = weights_[rows[i]];
    if (catches_up) {
      kernels::read_row(whole(rows[i]), dim_, out);
      from = {out, NumberType::kFloat32};
    }
    *inverse = kernels::normalize_row(from, dim_, out);
  }
}

void HostRows::update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
                      const at::Tensor& inverse_norm, double lr) {
  kernels::RowUpdate update = {.optimizer = table_.optimizer(), .lr = lr};
  const float* gradient = d_unit.const_data_ptr<float>();
  const float* inverse = inverse_norm.const_data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i, gradient += dim_, ++inverse) {
    if (i + 1 < rows.size()) {
      prefetch(weights_[rows[i + 1]], dim_);
      for (const Numbers& state : states_) prefetch(state[rows[i + 1]], dim_);
    }
    const LocalRow row = rows[i];
    update.key = rounding_key(row, 2 * table_.history.steps());
    if (table_.updates.defined())
      update.number = ++table_.updates.mutable_data_ptr<std::int32_t>()[row.v];
    kernels::update_row(whole(row), update, gradient, *inverse, dim_);
    if (table_.history.is_kept()) table_.history.see(row);
  }
}

void HostRows::fill_normal(float deviation) {
  const CounterRandom random(table_.options.seed, RandomStream::kCentreInit);
  at::parallel_for(0, table_.shard.rows(), kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (LocalRow row{begin}; row.v < end; ++row.v) {
      kernels::fill_normal(weights_[row], dim_, deviation, random,
                           static_cast<std::uint64_t>(table_.shard.global(row).v));
    }
    // Zeros are written too, though the memory has them already: where it cannot all be had, that
    // is to show here and not in a later step.
    for (const at::Tensor& state : table_.states) state.narrow(0, begin, end - begin).zero_();
  });
}

void HostRows::catch_up() {
  at::parallel_for(0, table_.shard.rows(), kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (LocalRow row{begin}; row.v < end; ++row.v)
      kernels::catch_up_row(whole(row), dim_, rounding_key(row, 2 * table_.history.steps() + 1));
  });
}

at::Tensor HostRows::read(std::span<const LocalRow> rows) const {
  at::Tensor values = at::empty({std::ssize(rows), dim_}, at::kFloat);
  float* out = values.data_ptr<float>();
  for (const LocalRow row : rows) {
    kernels::read_row(whole(row), dim_, out);
    out += dim_;
  }
  return values;
}

}  // namespace pfc
