#include <array>
#include <cstddef>
#include <list>

#include "head/every_instruction_set.h"
#include "head/kernel_device.h"

namespace pfc {
namespace {

class InstructionSet final : public KernelDevice {
 public:
  explicit InstructionSet(kernels::Target target) : target_(target) {}

  std::string name() const override {
    constexpr std::array kNames = {"Baseline", "Sse4", "Avx2", "Avx3"};
    return kNames.at(static_cast<std::size_t>(target_));
  }
  bool begin() override {
    kernels::target_in_use() = target_;
    return target_ <= kernels::target_of_processor();
  }
  void end() override { kernels::target_in_use() = kernels::target_of_processor(); }
  std::int64_t width() const override { return 1; }

  void fill_normal(kernels::Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                   std::uint64_t number) override {
    kernels::fill_normal(w, dim, deviation, random, number);
  }
  void read_row(const kernels::TableRow& row, std::int64_t dim, float* values) override {
    kernels::read_row(row, dim, values);
  }
  float normalize_row(kernels::Row w, std::int64_t dim, float* unit) override {
    return kernels::normalize_row(w, dim, unit);
  }
  void update_row(const kernels::TableRow& row, kernels::RowUpdate update, const Rounding& rounding,
                  const float* d_unit, float inverse_norm, std::int64_t dim) override {
    update.key = rounding.key();
    kernels::update_row(row, update, d_unit, inverse_norm, dim);
  }
  void catch_up_row(const kernels::TableRow& row, std::int64_t dim,
                    const Rounding& rounding) override {
    kernels::catch_up_row(row, dim, rounding.key());
  }
  void add_to_softmax(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                      const kernels::Others& others, float* maximum, double* sum) override {
    for (std::int64_t j = 0; j < columns; ++j) maximum[j] /= scale;
    kernels::column_max(tile, rows, columns, others, maximum);
    for (std::int64_t j = 0; j < columns; ++j) maximum[j] *= scale;
    kernels::exp_columns(tile, rows, columns, scale, maximum, others, sum);
  }
  void keep_nearest(float* tile, std::int64_t rows, std::int64_t columns,
                    std::int64_t group) override {
    kernels::keep_nearest(tile, rows, columns, group);
  }

 private:
  kernels::Target target_;
};

}  // namespace

std::vector<KernelDevice*> kernel_devices() {
  static std::list<InstructionSet> sets;
  std::vector<KernelDevice*> devices;
  for (const kernels::Target target : compiled_targets())
    devices.push_back(&sets.emplace_back(target));
  return devices;
}

}  // namespace pfc
