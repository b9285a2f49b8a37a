#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>

#include "head/kernels/kernels.h"
#include "head/table_state.h"

namespace pfc {

/// The rows of a table in host memory, for steps on the CPU. What works on some rows runs on the
/// thread that calls it; several may call it at once for different rows.
class HostRows final : public TableRows {
 public:
  /// `table` must outlive it.
  explicit HostRows(TableState& table);

  /// unit [n, dim] = the rows / ‖row‖, inverse_norm [n] = 1 / ‖row‖; both float32.
  void gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                        const at::Tensor& inverse_norm) const;
  /// d_unit [n, dim] is the loss's gradient by the normalised rows, inverse_norm [n] as gathered.
  /// Rows must differ.
  void update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
              const at::Tensor& inverse_norm, double lr);

  void fill_normal(float deviation) override;
  void catch_up() override;
  at::Tensor read(std::span<const LocalRow> rows) const override;

 private:
  /// Numbers [rows, dim] of a type.
  class Numbers {
   public:
    Numbers() = default;
    explicit Numbers(const at::Tensor& numbers);
    kernels::Row operator[](LocalRow row) const {
      return {data_ == nullptr ? nullptr : data_ + row.v * stride_, type_};
    }

   private:
    std::byte* data_ = nullptr;
    std::int64_t stride_ = 0;
    NumberType type_ = NumberType::kFloat32;
  };

  /// With the steps that it missed.
  kernels::TableRow whole(LocalRow row) const;
  /// What the rounding of a row draws from. `change` numbers what happens to the table.
  kernels::RoundingKey rounding_key(LocalRow row, std::int64_t change) const;

  TableState& table_;
  std::int64_t dim_;
  Numbers weights_;
  std::array<Numbers, kernels::kMostStates> states_;
};

}  // namespace pfc
