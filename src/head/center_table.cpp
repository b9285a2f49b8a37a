#include "pfc/head/center_table.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <sys/mman.h>

#include <cmath>
#include <numbers>
#include <string>

#include "head/kernels/kernels.h"
#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

constexpr double kInitialDeviation = 0.01;
constexpr std::int64_t kRowsAThread = 16;  // fewer are not worth waking one

/// row [dim] of N(0, deviation²) by Box and Muller's transform: four numbers from each draw of four
/// words.
void fill_normal(float* row, std::int64_t dim, std::int64_t global_class,
                 const CounterRandom& random) {
  constexpr double kUnit = 0x1p-32;
  for (std::int64_t j = 0; j < dim; j += 4) {
    const auto words =
        random.words(static_cast<std::uint64_t>(global_class), static_cast<std::uint64_t>(j));
    for (std::int64_t pair = 0; pair < 2; ++pair) {
      const double u = (words[static_cast<std::size_t>(2 * pair)] + 0.5) * kUnit;
      const double angle =
          2 * std::numbers::pi * words[static_cast<std::size_t>(2 * pair + 1)] * kUnit;
      const double radius = kInitialDeviation * std::sqrt(-2 * std::log(u));
      const std::int64_t at = j + 2 * pair;
      if (at < dim) row[at] = static_cast<float>(radius * std::cos(angle));
      if (at + 1 < dim) row[at + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

}  // namespace

/// One reservation of zeroed memory, in huge pages where the system offers them: a step touches
/// rows all over the table, and with small pages each row would cost a walk of the page table.
class CenterTable::Memory {
 public:
  explicit Memory(std::size_t bytes) : bytes_(bytes) {
    void* address =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      throw Error("cannot reserve " + std::to_string(bytes) +
                  " bytes for the class centres; use more ranks");
    }
    ::madvise(address, bytes, MADV_HUGEPAGE);  // advice: where it is refused, small pages serve
    data_ = static_cast<std::byte*>(address);
  }
  ~Memory() { ::munmap(data_, bytes_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::byte* data_;
};

CenterTable::CenterTable(const ClassShard& shard, std::int64_t dim,
                         const CenterOptimizer& optimizer, std::uint64_t seed)
    : shard_(shard), dim_(dim), optimizer_(optimizer) {
  const std::int64_t rows = shard.rows();
  if (rows == 0)
    throw Error("a rank would own no class: use at most as many ranks as there are identities");
  const bool adamw = optimizer.kind == CenterOptimizer::Kind::kAdamW;
  const std::size_t part = static_cast<std::size_t>(rows * dim) * sizeof(float);
  const std::size_t counts = static_cast<std::size_t>(rows) * sizeof(std::int32_t);
  memory_ = std::make_unique<Memory>(adamw ? 3 * part + counts : 2 * part);
  weights_ = at::from_blob(memory_->data(), {rows, dim}, at::kFloat);
  momentum_ = at::from_blob(memory_->data() + part, {rows, dim}, at::kFloat);
  if (adamw) {
    squares_ = at::from_blob(memory_->data() + 2 * part, {rows, dim}, at::kFloat);
    updates_ = at::from_blob(memory_->data() + 3 * part, {rows}, at::kInt);
  }

  const CounterRandom random(seed, Stream::kCentreInit);
  float* const w = weights_.data_ptr<float>();
  at::parallel_for(0, rows, kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      fill_normal(w + row * dim, dim, shard.global({row}).v, random);
    }
  });
}

CenterTable::~CenterTable() = default;

std::int64_t CenterTable::bytes() const {
  return static_cast<std::int64_t>(memory_->bytes());
}

void CenterTable::gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                                   const at::Tensor& inverse_norm) const {
  const float* const w = weights_.const_data_ptr<float>();
  float* const out = unit.data_ptr<float>();
  float* const inverse = inverse_norm.data_ptr<float>();
  at::parallel_for(0, std::ssize(rows), kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      inverse[i] = kernels::normalize_row(w + rows[static_cast<std::size_t>(i)].v * dim_, dim_,
                                          out + i * dim_);
    }
  });
}

void CenterTable::update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
                         const at::Tensor& inverse_norm, double lr) {
  const bool adamw = optimizer_.kind == CenterOptimizer::Kind::kAdamW;
  const kernels::SgdStep sgd{static_cast<float>(lr), static_cast<float>(optimizer_.momentum),
                             static_cast<float>(optimizer_.weight_decay)};
  float* const w = weights_.data_ptr<float>();
  float* const m = momentum_.data_ptr<float>();
  float* const v = adamw ? squares_.data_ptr<float>() : nullptr;
  std::int32_t* const updates = adamw ? updates_.data_ptr<std::int32_t>() : nullptr;
  const float* const gradient = d_unit.const_data_ptr<float>();
  const float* const inverse = inverse_norm.const_data_ptr<float>();
  at::parallel_for(0, std::ssize(rows), kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = rows[static_cast<std::size_t>(i)].v, at = row * dim_;
      if (adamw) {
        const auto step =
            kernels::formulas::adamw_step(lr, optimizer_.weight_decay, ++updates[row]);
        kernels::update_row_adamw(w + at, m + at, v + at, gradient + i * dim_, inverse[i], dim_,
                                  step);
      } else {
        kernels::update_row(w + at, m + at, gradient + i * dim_, inverse[i], dim_, sgd);
      }
    }
  });
}

}  // namespace pfc
