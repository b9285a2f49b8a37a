#include <c10/cuda/CUDAStream.h>

#include <cstdio>
#include <string>
#include <vector>

#include "gpu_check/kernel_case.h"
#include "head/kernels/kernels.h"
#include "head/staged_table.h"
#include "head/upload.h"
#include "pfc/base/error.h"

namespace pfc::gpu_check {
namespace {

kernels::Row row_of(const at::Tensor& x, std::int64_t row) {
  auto* const data = static_cast<std::byte*>(x.data_ptr());
  return {data + row * x.size(1) * static_cast<std::int64_t>(x.element_size()), number_type_of(x)};
}

/// The GPU lists the same rows as the host.
void check_list() {
  const HeadCase c{.identities = 100'003, .rate = 0.1, .batch = 300};
  for (int rank = 0; rank < 3; ++rank) {
    const ClassShard shard(c.identities, rank, 3);
    for (const double rate : {0.0, 0.1, 0.9}) {
      const ClassSampler sampler({.sample_rate = rate, .seed = 5}, shard);
      for (std::int64_t step = 0; step < 20; ++step) {
        const SampledClasses classes = sampler.draw(step, labels_of(c, step));
        const at::Tensor rows =
            torch::full({classes.count()}, -1, at::TensorOptions(kGpu).dtype(at::kLong));
        list_on_gpu(classes, 1, rows);
        std::vector<std::int64_t> wanted;
        for (const LocalRow row : classes.rows()) wanted.push_back(row.v);
        if (!rows.cpu().equal(torch::tensor(wanted, at::kLong))) {
          fail("list_rows: other rows than the host's at rate " + std::to_string(rate));
          return;
        }
      }
    }
  }
  std::printf("list_rows: the host's rows, 180 draws\n");
}

void check_gather(at::ScalarType table_type, at::ScalarType unit_type) {
  const Case c(table_type, 5000, 1003);
  const std::int64_t padded = 1008;
  const at::Tensor unit =
      torch::full({padded, kDim}, NAN, at::TensorOptions(kGpu).dtype(unit_type));
  const at::Tensor inverse = torch::full({padded}, NAN, at::TensorOptions(kGpu));
  gpu::gather_normalize(c.table(), c.sampled(padded), operand(unit), inverse.data_ptr<float>(),
                        stream());
  const at::Tensor w = c.weights.index_select(0, c.rows).to(at::kDouble);
  const at::Tensor wanted = w / w.norm(2, 1, true);
  const std::string what = "gather_normalize " + name(table_type) + " to " + name(unit_type);
  const double rounding = unit_type == at::kBFloat16 ? 2e-3 : unit_type == at::kHalf ? 3e-4 : 1e-5;
  expect_below(what + ", of float64", error_of(unit.narrow(0, 0, 1003), wanted), rounding);
  expect_below(what + ", of float64 so rounded",
               error_of(unit.narrow(0, 0, 1003), wanted.to(at::kFloat).to(unit_type)),
               limit_of(unit_type));
  if (unit.narrow(0, 1003, 5).to(at::kFloat).abs().sum().item<double>() != 0)
    throw Error(what + ": rows beyond the last are not 0");
  at::Tensor on_cpu = torch::empty({1003, kDim});
  const at::Tensor weights = c.weights.cpu(), rows = c.rows.cpu();
  for (std::int64_t i = 0; i < 1003; ++i) {
    kernels::normalize_row(row_of(weights, rows[i].item<std::int64_t>()), kDim,
                           on_cpu.data_ptr<float>() + i * kDim);
  }
  expect_below(what + ", of the CPU's so rounded",
               error_of(unit.narrow(0, 0, 1003), on_cpu.to(unit_type)), limit_of(unit_type));
}

/// Rows of a table in pinned host memory go to slots in the GPU's memory, from one slot to the
/// other, and back.
void check_parts() {
  const ClassShard shard(5000, 0, 1);
  CenterTableOptions options{.dim = kDim, .device = kGpu, .in_host_memory = true};
  options.optimizer.kind = CenterOptimizer::Kind::kAdamW;
  options.state = NumberType::kBFloat16;
  const CenterTable table(shard, options);
  table.part("momentum").normal_();
  table.part("updates").random_(0, 99);
  StagedTable staged(TableState::of(table), c10::cuda::getCurrentCUDAStream());
  staged.reserve(2000);
  const ClassSampler sampler({.sample_rate = 0.3}, shard);
  const at::Tensor weights = table.weights().clone(), updates = table.part("updates").clone();
  for (std::int64_t step = 0; step < 6; ++step) {
    const SampledClasses classes = sampler.draw(step, {});
    const gpu::Table part = staged.part(staged.begin(classes), {});
    staged.prefetch(sampler.draw(step + 1, {}));
    // The content of the slot is increased in place.
    const std::int64_t count = classes.count();
    const at::TensorOptions on_gpu(kGpu);
    const auto counted_up = [&](void* data, at::IntArrayRef sizes, at::ScalarType type) {
      at::for_blob(data, sizes)
          .options(on_gpu.dtype(type))
          .target_device(kGpu)
          .make_tensor()
          .add_(1);
    };
    counted_up(part.weights, {count, kDim}, at::kFloat);
    counted_up(part.updates, {count}, at::kInt);
    staged.end();
    std::vector<std::int64_t> rows;
    for (const LocalRow row : classes.rows()) rows.push_back(row.v);
    const at::Tensor places = torch::tensor(rows, at::kLong);
    weights.index_add_(0, places, torch::ones({count, kDim}));
    updates.index_add_(0, places, torch::ones({count}, at::kInt));
  }
  staged.drain();
  if (!table.weights().equal(weights) || !table.part("updates").equal(updates))
    fail("load_rows, forward_rows, store_rows: the table is not as it should be");
  else
    std::printf("load_rows, forward_rows, store_rows: six steps, each row where it belongs\n");
}

/// The same change to the same rows on the CPU; bfloat16 draws the same random bits.
void check_update(at::ScalarType type, CenterOptimizer::Kind kind) {
  const bool adamw = kind == CenterOptimizer::Kind::kAdamW;
  const Case c(type, 3000, 777);
  const at::Tensor d_unit = random({777, kDim}) * 0.01;
  const at::Tensor inverse = 1 / c.weights.index_select(0, c.rows).to(at::kFloat).norm(2, 1);
  const at::Tensor skip = torch::ones({1}, at::TensorOptions(kGpu));
  constexpr float kWorth = 0x1p-30f;
  const at::Tensor worth = skip * kWorth;
  // Two samples own one row and one owns another; another micro-batch came before.
  const auto numbers = [](std::vector<std::int32_t> list) {
    return torch::tensor(list, at::kInt).to(kGpu);
  };
  const at::Tensor owned = numbers({2, 0, 1}), places = numbers({5, 5, 776});
  const at::Tensor d_center = random({Case::kOwned, kDim}) * 0.01 / kWorth,
                   so_far = random({777, kDim}) * 0.01 / kWorth;
  const at::Tensor handed = d_unit / kWorth - so_far;
  handed.index_add_(0, places, d_center.index_select(0, owned));
  const at::Tensor first = torch::full({777}, -1, at::TensorOptions(kGpu).dtype(at::kInt));
  const gpu::OwnedOrder order = {owned.const_data_ptr<std::int32_t>(),
                                 places.const_data_ptr<std::int32_t>(),
                                 first.data_ptr<std::int32_t>()};
  gpu::find_owned(order, pointer(c.scalars), Case::kOwned, stream());
  const gpu::CenterGradients gradients = {.d_unit = handed.const_data_ptr<float>(),
                                          .owned = order,
                                          .d_center = d_center.const_data_ptr<float>(),
                                          .so_far = so_far.const_data_ptr<float>(),
                                          .worth = worth.const_data_ptr<float>(),
                                          .inverse_norm = inverse.const_data_ptr<float>()};
  const CounterRandom rounding(3, RandomStream::kRounding);
  const at::Tensor w = c.weights.cpu(), v = c.momentum.cpu(), s = c.squares.cpu(),
                   rows = c.rows.cpu(), gradient = d_unit.cpu(), norms = inverse.cpu(),
                   updates = c.updates.cpu();
  const auto update = [&] {
    gpu::update_rows(c.table(), c.sampled(777), kind, gradients, rounding,
                     skip.const_data_ptr<float>(), stream());
  };
  update();
  const std::string what = std::string("update_rows ") + (adamw ? "AdamW " : "SGD ") + name(type);
  if (!c.weights.cpu().equal(w) || !c.momentum.cpu().equal(v))
    throw Error(what + ": a step that is skipped changed the table");
  skip.zero_();
  update();
  at::Tensor exact_w = w.to(at::kDouble), exact_v = v.to(at::kDouble), exact_s = s.to(at::kDouble);
  for (std::int64_t i = 0; i < 777; ++i) {
    const std::int64_t row = rows[i].item<std::int64_t>();
    const auto words = rounding.words(static_cast<std::uint64_t>(row), 6);
    const std::int32_t number = updates[row].item<std::int32_t>() + 1;
    const CenterOptimizer optimizer{.kind = kind, .momentum = 0.9, .weight_decay = 5e-4};
    const kernels::TableRow on_cpu = {row_of(w, row), {row_of(v, row), row_of(s, row)}};
    kernels::update_row(on_cpu, {optimizer, 0.1, number, {words[0], words[1]}},
                        gradient.const_data_ptr<float>() + i * kDim, norms[i].item<float>(), kDim);
    // The same in float64 on the CPU, with LibTorch.
    at::Tensor x = exact_w[row], m = exact_v[row], q = exact_s[row];
    const at::Tensor unit = x / x.norm(), from = gradient[i].to(at::kDouble);
    const at::Tensor dw = (from - from.dot(unit) * unit) / x.norm();
    if (adamw) {
      m.mul_(0.9).add_(dw, 0.1);
      q.mul_(0.999).add_(dw.square(), 0.001);
      const kernels::rules::AdamW step(optimizer, 0.1, number);
      x.mul_(1 - 0.1 * 5e-4)
          .sub_(m * double{step.rate} / (q.sqrt() * double{step.root_correction} + 1e-8));
    } else {
      m.mul_(0.9).add_(dw).add_(x, 5e-4);
      x.sub_(m, 0.1);
    }
  }
  const bool exact = type == at::kFloat;
  // bfloat16 is rounded to either side at random, by at most 2^-8 of the value; on the CPU too.
  expect_below(what + ": weights, of float64", error_of(c.weights, exact_w), exact ? 1e-5 : 3e-3);
  expect_below(what + ": state, of float64", error_of(c.momentum, exact_v), exact ? 1e-5 : 3e-3);
  expect_below(what + ": weights, of the CPU's", error_of(c.weights, w), limit_of(type));
  expect_below(what + ": state, of the CPU's", error_of(c.momentum, v), limit_of(type));
  if (adamw) expect_below(what + ": squares, of the CPU's", error_of(c.squares, s), limit_of(type));
  gpu::sum_gradients(c.sampled(777), gradients, kDim, so_far.data_ptr<float>(), stream());
  expect_below("sum_gradients", error_of(so_far * kWorth, d_unit), 1e-6);
}

}  // namespace

void check_row_kernels() {
  check_list();
  check_parts();
  for (const auto table : {at::kFloat, at::kBFloat16}) {
    for (const auto unit : {at::kFloat, at::kBFloat16, at::kHalf}) check_gather(table, unit);
  }
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    check_update(type, CenterOptimizer::Kind::kSgd);
    check_update(type, CenterOptimizer::Kind::kAdamW);
  }
}

}  // namespace pfc::gpu_check
