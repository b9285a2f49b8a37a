#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "base/ceil_divide.h"
#include "head/gpu_memory.h"
#include "head/kernel_device.h"

namespace pfc {
namespace {

/// A table of three rows in the GPU's memory, the second of which is the one that a kernel gets.
/// The others are the same.
struct Rows {
  static constexpr std::int64_t kRows = 3, kOurs = 1;

  kernels::TableRow host;
  std::int64_t dim;
  at::Tensor weights, states[kernels::kMostStates], updates, steps_seen, to_now;

  Rows(const kernels::TableRow& row, std::int64_t numbers, std::int32_t number = 1)
      : host(row),
        dim(numbers),
        weights(copies(row.w)),
        updates(at::full({kRows}, number - 1, on_gpu(at::kInt))),
        steps_seen(at::zeros({kRows}, on_gpu(at::kInt))),
        to_now(sent(row.missed)) {
    for (std::size_t k = 0; k < kernels::kMostStates; ++k) states[k] = copies(row.states[k]);
  }

  gpu::Table table(std::uint64_t first_class) const {
    const auto data = [](const at::Tensor& part) {
      return part.defined() ? part.data_ptr() : nullptr;
    };
    const bool missed = host.missed.w_w != 0 || host.missed.v_v != 1;
    return {
        .weights = weights.data_ptr(),
        .states = {data(states[0]), data(states[1]), data(states[2])},
        .updates = updates.data_ptr<std::int32_t>(),
        .steps_seen = missed ? steps_seen.data_ptr<std::int32_t>() : nullptr,
        .to_now = missed ? static_cast<const kernels::CatchUp*>(to_now.const_data_ptr()) : nullptr,
        .weight_type = host.w.type,
        .state_type = host.states[0].type,
        .dim = dim,
        .first_class = static_cast<std::int64_t>(first_class) - kOurs};
  }
  /// Back to the host.
  void store() const {
    store(weights, host.w);
    for (std::size_t k = 0; k < kernels::kMostStates; ++k) store(states[k], host.states[k]);
  }
  bool equals(const Rows& other) const {
    const auto same = [](const at::Tensor& a, const at::Tensor& b) {
      return !a.defined() || a.equal(b);
    };
    return same(weights, other.weights) && std::ranges::equal(states, other.states, same) &&
           same(updates, other.updates);
  }

 private:
  at::Tensor copies(const kernels::Row& row) const {
    if (row.data == nullptr) return {};
    return sent(row.data, dim * bytes_of(row.type)).expand({kRows, -1}).contiguous();
  }
  void store(const at::Tensor& from, const kernels::Row& to) const {
    if (to.data != nullptr) fetch(from[kOurs], to.data);
  }
};

class GpuDevice final : public KernelDevice {
 public:
  std::string name() const override { return "Gpu"; }
  bool begin() override { return true; }
  std::int64_t width() const override { return gpu::kWidth; }

  void fill_normal(kernels::Row w, std::int64_t dim, float deviation, const CounterRandom& random,
                   std::uint64_t number) override {
    const Rows rows({.w = w}, dim);
    gpu::fill_normal(rows.table(number), Rows::kRows, deviation, random, stream());
    rows.store();
  }

  void read_row(const kernels::TableRow& row, std::int64_t dim, float* values) override {
    const Rows rows(row, dim);
    const at::Tensor read = at::full({1, dim}, NAN, on_gpu(at::kFloat));
    const at::Tensor which = sent(std::int64_t{Rows::kOurs});
    gpu::read_rows(rows.table(0), static_cast<const std::int64_t*>(which.const_data_ptr()), 1,
                   read.data_ptr<float>(), stream());
    fetch(read, values);
  }

  float normalize_row(kernels::Row w, std::int64_t dim, float* unit) override {
    const Rows rows({.w = w}, dim);
    const at::Tensor units = at::full({2, dim}, NAN, on_gpu(at::kFloat)),
                     inverse = at::full({2}, NAN, on_gpu(at::kFloat));
    const gpu::StepScalars scalars{.count = 1};  // the second place is empty
    const at::Tensor step = sent(scalars), which = sent(std::int64_t{Rows::kOurs});
    gpu::gather_normalize(rows.table(0),
                          {static_cast<const std::int64_t*>(which.const_data_ptr()),
                           static_cast<const gpu::StepScalars*>(step.const_data_ptr()), 0, 2},
                          {units.data_ptr()}, inverse.data_ptr<float>(), stream());
    fetch(units[0], unit);
    EXPECT_TRUE(units[1].eq(0).all().item<bool>()) << "an empty place is not 0";
    return inverse[0].item<float>();
  }

  /// The gradient comes in parts: that of other classes' samples, those of two samples that own
  /// the row, beside a sample that owns another, and that of an earlier micro-batch. First the step
  /// is to be skipped.
  void update_row(const kernels::TableRow& row, kernels::RowUpdate update, const Rounding& rounding,
                  const float* d_unit, float inverse_norm, std::int64_t dim) override {
    constexpr float kWorth = 0x1p-30f;
    const Rows rows(row, dim, update.number), before(row, dim, update.number);
    const at::Tensor gradient = sent(d_unit, dim * 4).view(at::kFloat) / kWorth,
                     nothing = at::zeros_like(gradient);
    const at::Tensor d_unit_parts = at::stack({gradient * 1.5, nothing}),
                     d_center = at::stack({gradient / 4, nothing + 7, gradient / 2}),
                     so_far = at::stack({gradient / 4 * kWorth, nothing}),
                     inverse = at::full({2}, inverse_norm, on_gpu(at::kFloat)),
                     worth = at::full({1}, kWorth, on_gpu(at::kFloat)),
                     skip = at::ones({1}, on_gpu(at::kFloat)),
                     first = at::full({2}, -1, on_gpu(at::kInt));
    const at::Tensor samples = at::tensor({2, 0, 1}, at::kInt).to(kGpu),
                     places = at::tensor({0, 0, 1}, at::kInt).to(kGpu),
                     which = at::tensor({Rows::kOurs, Rows::kOurs + 1}, at::kLong).to(kGpu);
    const gpu::StepScalars scalars{.count = 2,
                                   .owned = 3,
                                   .optimizer = update.optimizer,
                                   .lr = update.lr,
                                   .change = rounding.change};
    const at::Tensor step = sent(scalars);
    const gpu::SampledRows sampled{which.const_data_ptr<std::int64_t>(),
                                   static_cast<const gpu::StepScalars*>(step.const_data_ptr()), 0,
                                   2};
    const gpu::OwnedOrder order{samples.const_data_ptr<std::int32_t>(),
                                places.const_data_ptr<std::int32_t>(),
                                first.data_ptr<std::int32_t>()};
    gpu::find_owned(order, sampled.step, 3, stream());
    const gpu::CenterGradients gradients{.d_unit = d_unit_parts.const_data_ptr<float>(),
                                         .owned = order,
                                         .d_center = d_center.const_data_ptr<float>(),
                                         .so_far = so_far.const_data_ptr<float>(),
                                         .worth = worth.const_data_ptr<float>(),
                                         .inverse_norm = inverse.const_data_ptr<float>()};
    const auto make_step = [&] {
      gpu::update_rows(rows.table(rounding.row), sampled, update.optimizer.kind, gradients,
                       rounding.random, skip.const_data_ptr<float>(), stream());
    };
    make_step();
    EXPECT_TRUE(rows.equals(before)) << "a step that is skipped changed the table";
    skip.zero_();
    make_step();
    EXPECT_TRUE(rows.weights[0].equal(before.weights[0])) << "a row changed that was not sampled";
    rows.store();

    gpu::sum_gradients(sampled, gradients, dim, so_far.data_ptr<float>(), stream());
    EXPECT_TRUE(so_far[0].allclose(gradient * kWorth, 1e-6, 0));
  }

  void catch_up_row(const kernels::TableRow& row, std::int64_t dim,
                    const Rounding& rounding) override {
    const Rows rows(row, dim);
    gpu::catch_up(rows.table(rounding.row), Rows::kRows, rounding.change, rounding.random,
                  stream());
    rows.store();
  }

  void add_to_softmax(float* tile, std::int64_t rows, std::int64_t columns, float scale,
                      const kernels::Others& others, float* maximum, double* sum) override {
    const std::int64_t padded = ceil_divide(rows, gpu::kWidth) * gpu::kWidth;
    const at::Tensor cosines = at::full({columns, padded}, 0.9, on_gpu(at::kFloat)),
                     p = at::full({columns, padded}, NAN, on_gpu(at::kFloat)),
                     most = sent(maximum, columns * 4), total = sent(sum, columns * 8),
                     d = at::zeros({columns, gpu::kWidth}, on_gpu(at::kFloat)),
                     of_tile = at::empty({columns}, on_gpu(at::kFloat)),
                     targets = at::full({columns}, -1, on_gpu(at::kInt));
    cosines.narrow(1, 0, rows).copy_(matrix(tile, rows, columns).t());
    const at::Tensor bounds = sent(others.bounds, columns * 4),
                     moving = sent(others.moving, moving_bytes(others.loss));
    const gpu::StepScalars scalars{.count = rows};
    const at::Tensor step = sent(scalars);
    gpu::softmax_tile(
        {columns,
         {nullptr, static_cast<const gpu::StepScalars*>(step.const_data_ptr()), 0, padded}},
        others.loss,
        {.cosines = cosines.data_ptr<float>(),
         .scale = scale,
         .filter = others.filter,
         .bounds = static_cast<const float*>(bounds.const_data_ptr()),
         .moving = static_cast<const double*>(moving.const_data_ptr())},
        targets.const_data_ptr<std::int32_t>(),
        {.maximum = static_cast<float*>(most.data_ptr()),
         .sum = static_cast<double*>(total.data_ptr()),
         .d_embeddings = d.data_ptr<float>(),
         .samples = columns,
         .dim = gpu::kWidth},
        {p.data_ptr()}, of_tile.data_ptr<float>(), stream());
    matrix(tile, rows, columns).copy_((p.narrow(1, 0, rows) / gpu::kRaised).t());
    fetch(most, maximum);
    fetch(total, sum);
  }

  void keep_nearest(float* tile, std::int64_t rows, std::int64_t columns,
                    std::int64_t group) override {
    const at::Tensor cosines = matrix(tile, rows, columns).t().contiguous().to(kGpu);
    gpu::keep_nearest({columns, {nullptr, nullptr, 0, rows}},
                      {.cosines = cosines.data_ptr<float>(), .centers = group}, stream());
    matrix(tile, rows, columns).copy_(cosines.t());
  }

 private:
  static at::Tensor matrix(float* numbers, std::int64_t rows, std::int64_t columns) {
    return at::from_blob(numbers, {rows, columns}, at::kFloat);
  }
  static std::int64_t moving_bytes(const Loss& loss) {
    return std::ssize(first_moving_numbers(loss)) * 8;
  }
};

}  // namespace

std::vector<KernelDevice*> kernel_devices() {
  static GpuDevice the_gpu;
  return {&the_gpu};
}

}  // namespace pfc
