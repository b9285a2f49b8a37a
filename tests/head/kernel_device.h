#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "head/kernels/kernels.h"
#include "pfc/base/random.h"

namespace pfc {

/// The random bits by which a row's bfloat16 is rounded.
struct Rounding {
  CounterRandom random;
  std::uint64_t row, change;

  kernels::RoundingKey key() const {
    const auto words = random.words(row, change);
    return {words[0], words[1]};
  }
};

/// What the theorems of kernels are shown on: an instruction set of this processor, or a GPU. The
/// functions do what those of kernels.h do, on the host's memory.
class KernelDevice {
 public:
  virtual ~KernelDevice() = default;
  virtual std::string name() const = 0;
  /// Before anything else; false if this machine does not have it.
  virtual bool begin() = 0;
  virtual void end() {}  ///< after everything else
  /// Rows of the table have a multiple of so many numbers.
  virtual std::int64_t width() const = 0;

  virtual void fill_normal(kernels::Row w, std::int64_t dim, float deviation,
                           const CounterRandom& random, std::uint64_t number) = 0;
  virtual void read_row(const kernels::TableRow& row, std::int64_t dim, float* values) = 0;
  virtual float normalize_row(kernels::Row w, std::int64_t dim, float* unit) = 0;
  virtual void update_row(const kernels::TableRow& row, kernels::RowUpdate update,
                          const Rounding& rounding, const float* d_unit, float inverse_norm,
                          std::int64_t dim) = 0;
  virtual void catch_up_row(const kernels::TableRow& row, std::int64_t dim,
                            const Rounding& rounding) = 0;
  /// tile [rows, columns] of cosines becomes p · slope with p = exp(scale · cosine − maximum), of
  /// what `others` makes of the cosines. maximum [columns], of the logits so far, becomes the one
  /// with those of the tile; sum [columns] gains the column's p.
  virtual void add_to_softmax(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                              const kernels::Others& others, float* maximum, double* sum) = 0;
  virtual void keep_nearest(float* tile, std::int64_t rows, std::int64_t columns,
                            std::int64_t group) = 0;
};

/// Those of the program: instruction sets of core_tests and portable_tests, the GPU of gpu_tests.
std::vector<KernelDevice*> kernel_devices();

}  // namespace pfc
