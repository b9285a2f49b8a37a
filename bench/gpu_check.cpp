// What a GPU makes of the head and of training: its kernels against the CPU's and float64, training
// of r18, the head's speed against plain LibTorch's and against what the card's own ceilings allow.
// scripts/gpu_check.sh builds and runs it.

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "head/kernels/kernels.h"
#include "head/kernels/kernels_cuda.h"
#include "head/table_view.h"
#include "head_baselines.h"
#include "median.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"
#include "pfc/comm/gpus.h"
#include "pfc/train/train_step.h"
#include "run_self.h"

namespace pfc {
namespace {

namespace gpu = kernels::cuda;

constexpr std::int64_t kDim = 512;
const at::Device kGpu(at::kCUDA, 0);

int failures = 0;

/// Prints a line of the checks: what is, and what it must not exceed.
void expect_below(const std::string& what, double found, double limit) {
  const bool good = found <= limit;  // a NaN is not
  if (!good) ++failures;
  std::printf("%-66s %9.2e  (at most %.0e)%s\n", what.c_str(), found, limit,
              good ? "" : "  FAILED");
}

/// ‖found − wanted‖ / ‖wanted‖ in float64.
double error_of(const at::Tensor& found, const at::Tensor& wanted) {
  const at::Tensor reference = wanted.to(at::kCPU, at::kDouble);
  return ((found.to(at::kCPU, at::kDouble) - reference).norm() / reference.norm()).item<double>();
}

gpu::Stream stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

void wait_for_gpu() {
  const cudaError_t error = cudaDeviceSynchronize();
  if (error != cudaSuccess) throw Error(std::string("the GPU: ") + cudaGetErrorString(error));
}

// The kernels.

at::Tensor random(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
  return torch::randn(shape, at::TensorOptions(kGpu)).to(type);
}

std::string name(at::ScalarType type) {
  return type == at::kFloat ? "float32" : type == at::kHalf ? "float16" : "bfloat16";
}

gpu::Operand operand(const at::Tensor& x) {
  return {x.data_ptr(), x.scalar_type() == at::kBFloat16 ? gpu::GemmType::kBFloat16
                        : x.scalar_type() == at::kHalf   ? gpu::GemmType::kFloat16
                                                         : gpu::GemmType::kFloat32};
}

NumberType number_type_of(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? NumberType::kBFloat16 : NumberType::kFloat32;
}

kernels::Row row_of(const at::Tensor& x, std::int64_t row) {
  auto* const data = static_cast<std::byte*>(x.data_ptr());
  return {data + row * x.size(1) * static_cast<std::int64_t>(x.element_size()), number_type_of(x)};
}

double limit_of(at::ScalarType type) {
  return type == at::kFloat ? 1e-5 : 1e-3;
}

/// What a step's launches read, on the GPU.
at::Tensor send(const gpu::StepScalars& scalars) {
  return at::from_blob(const_cast<gpu::StepScalars*>(&scalars), {sizeof(scalars)}, at::kByte)
      .to(kGpu);
}
const gpu::StepScalars* pointer(const at::Tensor& scalars) {
  return static_cast<const gpu::StepScalars*>(scalars.data_ptr());
}

/// A table and some of its rows.
struct Case {
  at::Tensor weights, momentum, squares, updates, rows, scalars;

  Case(at::ScalarType type, std::int64_t count, std::int64_t picked)
      : weights(random({count, kDim}, type)),
        momentum(random({count, kDim}, type) * 0.1),
        squares(random({count, kDim}).square().mul_(0.01).to(type)),
        updates(torch::randint(0, 9, {count}, at::TensorOptions(kGpu).dtype(at::kInt))),
        rows(std::get<0>(torch::randperm(count, at::TensorOptions(kGpu).dtype(at::kLong))
                             .narrow(0, 0, picked)
                             .sort())),
        scalars(send({.count = picked,
                      .sgd = {0.1f, 0.9f, 5e-4f},
                      .lr = 0.1,
                      .weight_decay = 5e-4,
                      .change = 6})) {}

  gpu::Table table() const {
    return {.weights = weights.data_ptr(),
            .momentum = momentum.data_ptr(),
            .squares = squares.data_ptr(),
            .updates = updates.data_ptr<std::int32_t>(),
            .weight_type = number_type_of(weights),
            .state_type = number_type_of(momentum),
            .dim = kDim};
  }
  gpu::SampledRows sampled(std::int64_t size) const {
    return {rows.const_data_ptr<std::int64_t>(), pointer(scalars), 0, size};
  }
};

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

void check_softmax(at::ScalarType type, double threshold) {
  const std::int64_t samples = 96, first = 2003, second = 1500;
  const std::int64_t padded[] = {2008, 1504};
  const float scale = 64;
  const auto on_gpu = at::TensorOptions(kGpu);
  const at::Tensor cosines = torch::rand({samples, first + second}, on_gpu) * 1.6 - 0.8;
  const at::Tensor targets = torch::randint(-1, first + second, {samples}, on_gpu.dtype(at::kInt));
  const at::Tensor phi = torch::rand({samples}, on_gpu.dtype(at::kDouble)) * 0.8;
  const at::Tensor slope = torch::ones_like(phi), d_own = torch::zeros({samples, kDim}, on_gpu);
  const at::Tensor d_center = torch::zeros_like(d_own);
  const gpu::OwnClasses own{targets.const_data_ptr<std::int32_t>(), phi.data_ptr<double>(),
                            slope.data_ptr<double>(), d_own.data_ptr<float>(),
                            d_center.data_ptr<float>()};
  const at::Tensor maximum = torch::full({samples}, -INFINITY, on_gpu);
  const at::Tensor sum = torch::zeros({samples}, on_gpu);
  const at::Tensor d = torch::ones({samples, kDim}, on_gpu);
  const at::Tensor tile_maximum = torch::empty({2, samples}, on_gpu);
  const gpu::SoftmaxState state{maximum.data_ptr<float>(), sum.data_ptr<float>(),
                                d.data_ptr<float>(), kDim};
  std::vector<at::Tensor> probabilities, again;
  std::vector<at::Tensor> tiles;
  // Where the classes end, for either tile.
  const at::Tensor ends[] = {send({.count = first}), send({.count = first + second})};
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor z =
        torch::full({samples, padded[t]}, 0.9, on_gpu);  // beyond the last: no class
    z.narrow(1, 0, count).copy_(cosines.narrow(1, begin, count));
    tiles.push_back(z);
    probabilities.push_back(torch::full({samples, padded[t]}, NAN, on_gpu.dtype(type)));
    gpu::softmax_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}},
                      {z.const_data_ptr<float>(), scale, static_cast<float>(threshold)}, own, state,
                      operand(probabilities.back()), tile_maximum[t].data_ptr<float>(), stream());
  }
  at::Tensor logits = cosines.to(at::kDouble);
  logits = torch::where(logits > threshold, torch::full_like(logits, -INFINITY), logits);
  const at::Tensor owned = targets.ge(0).nonzero().squeeze(1);
  logits.index_put_({owned, targets.index_select(0, owned).to(at::kLong)},
                    phi.index_select(0, owned));
  logits = logits * scale;
  const at::Tensor most = logits.amax(1);
  const std::string what = "softmax_tile " + name(type) + (threshold < 1 ? ", filtered" : "");
  expect_below(what + ": maximum", error_of(maximum, most), 1e-6);
  expect_below(what + ": sum", error_of(sum, (logits - most.unsqueeze(1)).exp().sum(1)), 1e-5);
  for (int t = 0; t < 2; ++t) {
    const std::int64_t begin = t * first, count = t == 0 ? first : second;
    const at::Tensor wanted =
        (logits.narrow(1, begin, count) - tile_maximum[t].to(at::kDouble).unsqueeze(1)).exp();
    const at::Tensor found = probabilities[static_cast<std::size_t>(t)];
    expect_below(what + ": probabilities of tile " + std::to_string(t) + " so rounded",
                 error_of(found.narrow(1, 0, count), wanted.to(at::kFloat).to(type)),
                 limit_of(type));
    if (found.narrow(1, count, padded[t] - count).to(at::kFloat).abs().sum().item<double>() != 0)
      throw Error(what + ": columns beyond the last are not 0");
    const at::Tensor log_sum = most.to(at::kFloat) + 0.5;
    const at::Tensor p = torch::full({samples, padded[t]}, NAN, on_gpu.dtype(type));
    gpu::exp_tile({samples, {nullptr, pointer(ends[t]), begin, padded[t]}},
                  {tiles[static_cast<std::size_t>(t)].const_data_ptr<float>(), scale,
                   static_cast<float>(threshold)},
                  own, log_sum.const_data_ptr<float>(), operand(p), stream());
    expect_below("exp_tile " + name(type) + " so rounded",
                 error_of(p.narrow(1, 0, count),
                          (logits.narrow(1, begin, count) - log_sum.to(at::kDouble).unsqueeze(1))
                              .exp()
                              .to(at::kFloat)
                              .to(type)),
                 limit_of(type));
  }
}

/// The same change to the same rows on the CPU; bfloat16 draws the same random bits.
void check_update(at::ScalarType type, bool adamw) {
  const Case c(type, 3000, 777);
  const at::Tensor d_unit = random({777, kDim}) * 0.01;
  const at::Tensor inverse = 1 / c.weights.index_select(0, c.rows).to(at::kFloat).norm(2, 1);
  const at::Tensor skip = torch::ones({1}, at::TensorOptions(kGpu));
  const CounterRandom rounding(3, Stream::kRounding);
  const at::Tensor w = c.weights.cpu(), v = c.momentum.cpu(), s = c.squares.cpu(),
                   rows = c.rows.cpu(), gradient = d_unit.cpu(), norms = inverse.cpu(),
                   updates = c.updates.cpu();
  const auto update = [&] {
    gpu::update_rows(c.table(), c.sampled(777), adamw, d_unit.const_data_ptr<float>(),
                     inverse.const_data_ptr<float>(), rounding, skip.const_data_ptr<float>(),
                     stream());
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
    const kernels::RoundingKey key{words[0], words[1]};
    const float* const g = gradient.const_data_ptr<float>() + i * kDim;
    const auto step = kernels::formulas::adamw_step(0.1, 5e-4, updates[row].item<int>() + 1);
    // float64 on the CPU, by LibTorch.
    at::Tensor x = exact_w[row], m = exact_v[row], q = exact_s[row];
    const at::Tensor unit = x / x.norm(), from = gradient[i].to(at::kDouble);
    const at::Tensor dw = (from - from.dot(unit) * unit) / x.norm();
    if (adamw) {
      m.mul_(0.9).add_(dw, 0.1);
      q.mul_(0.999).add_(dw.square(), 0.001);
      x.mul_(1 - 0.1 * 5e-4)
          .sub_(m * double{step.rate} / (q.sqrt() * double{step.root_correction} + 1e-8));
      kernels::update_row_adamw(row_of(w, row), row_of(v, row), row_of(s, row), g,
                                norms[i].item<float>(), kDim, step, key);
    } else {
      m.mul_(0.9).add_(dw).add_(x, 5e-4);
      x.sub_(m, 0.1);
      kernels::update_row(row_of(w, row), row_of(v, row), {}, g, norms[i].item<float>(), kDim,
                          {0.1f, 0.9f, 5e-4f}, key);
    }
  }
  const bool exact = type == at::kFloat;
  // bfloat16 is rounded to either side, stochastically: 2^-8 of the value at the most, and so by
  // the CPU.
  expect_below(what + ": weights, of float64", error_of(c.weights, exact_w), exact ? 1e-5 : 3e-3);
  expect_below(what + ": state, of float64", error_of(c.momentum, exact_v), exact ? 1e-5 : 3e-3);
  expect_below(what + ": weights, of the CPU's", error_of(c.weights, w), limit_of(type));
  expect_below(what + ": state, of the CPU's", error_of(c.momentum, v), limit_of(type));
  if (adamw) expect_below(what + ": squares, of the CPU's", error_of(c.squares, s), limit_of(type));
}

void check_kernels() {
  for (const auto table : {at::kFloat, at::kBFloat16}) {
    for (const auto unit : {at::kFloat, at::kBFloat16, at::kHalf}) check_gather(table, unit);
  }
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) check_softmax(type, 2);
  check_softmax(at::kFloat, 0.3);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    check_update(type, /*adamw=*/false);
    check_update(type, /*adamw=*/true);
  }
}

// The head, on the CPU and on the GPU.

struct HeadCase {
  std::int64_t identities = 20'000;
  double rate = 0.3;
  std::int64_t batch = 256;
  PartialFcOptions head = {};
};

std::vector<GlobalClass> labels_of(const HeadCase& c, std::int64_t step) {
  const CounterRandom numbers(1, Stream::kBenchmark);
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < c.batch; ++i) {
    labels.push_back({numbers.below(c.identities, static_cast<std::uint64_t>(step),
                                    static_cast<std::uint64_t>(i))});
  }
  return labels;
}

/// -> the gradient of the embeddings.
at::Tensor head_step(PartialFc& head, const SampledClasses& classes, const at::Tensor& embeddings,
                     const at::Tensor& valid, Communicator& comm, double lr = 0.1) {
  head.begin(classes, valid);
  head.forward(embeddings);
  head.exchange(comm);
  Pending dx = comm.reduce_scatter(head.d_embeddings());
  head.update(lr, dx);
  return dx.wait();
}

/// The same steps on the CPU and on the GPU, from the same start.
void check_head(const std::string& what, const HeadCase& c, double limit) {
  const ClassShard shard(c.identities, 0, 1);
  const ClassSampler sampler({.sample_rate = c.rate}, shard);
  const auto comm = make_self_communicator();
  PartialFcOptions on_gpu = c.head;
  on_gpu.table.device = kGpu;
  PartialFc cpu(c.head, shard), there(on_gpu, shard);
  expect_below(what + ": initial centres", error_of(there.table().weights(), cpu.table().weights()),
               1e-5);
  cpu.table().weights().copy_(there.table().weights());
  // AdamW's first steps are as long for a tiny gradient as for any, and rounding chooses the sign
  // of those.
  const double lr = c.head.table.optimizer.kind == CenterOptimizer::Kind::kAdamW ? 1e-3 : 0.1;
  double loss = 0, gradient = 0;
  for (std::int64_t step = 0; step < 4; ++step) {
    const std::vector<GlobalClass> labels = labels_of(c, step);
    const SampledClasses classes = sampler.draw(step, labels);
    const at::Tensor x = torch::nn::functional::normalize(torch::randn({c.batch, kDim}));
    at::Tensor valid = torch::ones(c.batch);
    valid[3] = 0;
    const at::Tensor a = head_step(cpu, classes, x, valid, *comm, lr);
    const at::Tensor b = head_step(there, classes, x.to(kGpu), valid.to(kGpu), *comm, lr);
    loss = std::max(loss, std::abs(there.loss() / cpu.loss() - 1));
    gradient = std::max(gradient, error_of(b, a));
  }
  expect_below(what + ": loss", loss, limit);
  expect_below(what + ": gradient of embeddings", gradient, limit);
  cpu.table().catch_up();
  there.table().catch_up();
  expect_below(what + ": centres", error_of(there.table().weights(), cpu.table().weights()), limit);
  expect_below(what + ": their momentum",
               error_of(there.table().momentum(), cpu.table().momentum()), limit);
}

void check_heads() {
  using Rule = CenterOptimizer::Rule;
  PartialFcOptions head;
  head.table.dim = kDim;
  head.gemm = GemmInput::kFloat32;
  check_head("head, float32", {.head = head}, 1e-4);
  head.tile_rows = 1000;
  head.margin = Margin::arcface(0.5);
  head.interclass_filter = 0.15;
  check_head("head, float32, ArcFace, filter, tiles of 1000", {.head = head}, 1e-4);
  head.workspace_bytes = 0;
  head.table.optimizer.rule = Rule::kDenseEquivalent;
  check_head("head, float32, dense_equivalent, nothing kept", {.head = head}, 1e-4);
  head = {};
  head.table.dim = kDim;
  head.table.optimizer.kind = CenterOptimizer::Kind::kAdamW;
  head.gemm = GemmInput::kFloat32;
  check_head("head, float32, AdamW", {.head = head}, 1e-3);
  head.table.optimizer.kind = CenterOptimizer::Kind::kSgd;
  for (const auto& [gemm, text] :
       {std::pair(GemmInput::kTF32, "TF32"), std::pair(GemmInput::kFloat16, "float16"),
        std::pair(GemmInput::kBFloat16, "bfloat16")}) {
    head.gemm = gemm;
    check_head(std::string("head, ") + text, {.head = head},
               gemm == GemmInput::kBFloat16 ? 1e-2 : 2e-3);
  }
}

// The head's speed.

/// The median of milliseconds that body() takes on the GPU when it is called many times in a row.
double milliseconds(int rounds, int calls, const std::function<void()>& body) {
  body();
  body();
  wait_for_gpu();
  std::vector<double> times;
  cudaEvent_t begin = nullptr, end = nullptr;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  for (int round = 0; round < rounds; ++round) {
    cudaEventRecord(begin, stream());
    for (int call = 0; call < calls; ++call) body();
    cudaEventRecord(end, stream());
    wait_for_gpu();
    float passed = 0;
    cudaEventElapsedTime(&passed, begin, end);
    times.push_back(static_cast<double>(passed) / calls);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return median(std::move(times));
}

/// What the card does at best.
struct Ceilings {
  double bytes_a_second = 0,
         flops_a_second = 0;  ///< a copy's, read and written; a GEMM's in bfloat16
};

Ceilings measure_ceilings() {
  const at::Tensor from = torch::empty({std::int64_t{1} << 30}, at::TensorOptions(kGpu)).uniform_();
  const at::Tensor to = torch::empty_like(from);
  const double copy = milliseconds(5, 4, [&] { to.copy_(from); });
  constexpr std::int64_t kSize = 8192;
  const at::Tensor a = random({kSize, kSize}, at::kBFloat16),
                   b = random({kSize, kSize}, at::kBFloat16);
  at::Tensor c = torch::empty({kSize, kSize}, at::TensorOptions(kGpu).dtype(at::kBFloat16));
  const double gemm = milliseconds(5, 4, [&] { at::mm_out(c, a, b); });
  const double size = kSize;
  return {2.0 * static_cast<double>(from.nbytes()) / copy * 1e3,
          2 * size * size * size / gemm * 1e3};
}

std::int64_t sampled_rows(const HeadCase& c) {
  const ClassSampler sampler({.sample_rate = c.rate}, ClassShard(c.identities, 0, 1));
  return std::ssize(sampler.draw(0, labels_of(c, 0)).rows);
}

/// Of a step: 6·B·S·d operations, 8 where probabilities are computed again; 3 rows and 2 states of
/// each sampled row.
double roofline_ms(const HeadCase& c, const Ceilings& ceilings) {
  const std::int64_t sampled = sampled_rows(c);
  const bool again = PartialFc::keep(c.head, sampled, c.batch) == PartialFc::Keep::kNothing;
  const double numbers = static_cast<double>(sampled) * static_cast<double>(kDim);
  const double flops = (again ? 8 : 6) * static_cast<double>(c.batch) * numbers;
  const double bytes = numbers * (3.0 * static_cast<double>(bytes_of(c.head.table.weights)) +
                                  2.0 * static_cast<double>(bytes_of(c.head.table.state)));
  return 1e3 * (flops / ceilings.flops_a_second + bytes / ceilings.bytes_a_second);
}

void give_memory_back() {
  wait_for_gpu();
  c10::cuda::CUDACachingAllocator::emptyCache();
}

double our_ms(const HeadCase& c) {
  const ClassShard shard(c.identities, 0, 1);
  const ClassSampler sampler({.sample_rate = c.rate}, shard);
  PartialFc head(c.head, shard);
  const auto comm = make_self_communicator();
  const at::Tensor x = torch::nn::functional::normalize(random({c.batch, kDim}));
  const at::Tensor valid = torch::ones({c.batch}, at::TensorOptions(kGpu));
  std::vector<SampledClasses> draws;  // made ahead, as training does
  for (std::int64_t step = 0; step < 4; ++step)
    draws.push_back(sampler.draw(step, labels_of(c, step)));
  const bool is_long = draws.front().rows.size() > 500'000;
  std::size_t step = 0;
  const double ms = milliseconds(
      5, is_long ? 4 : 12, [&] { head_step(head, draws[step++ % draws.size()], x, valid, *comm); });
  if (!std::isfinite(head.loss())) throw Error("the loss is not finite");
  return ms;
}

/// Of one of the plain ways, its logits multiplied in bfloat16.
double plain_ms(const HeadCase& c, bool dense) {
  const at::Tensor weights =
      torch::empty({c.identities, kDim}, at::TensorOptions(kGpu)).normal_(0, 0.01);
  const auto head = (dense ? make_dense_baseline : make_gather_baseline)(
      {.sample_rate = c.rate, .gemm = at::kBFloat16}, weights);
  const at::Tensor x = torch::nn::functional::normalize(random({c.batch, kDim}));
  std::vector<std::int64_t> numbers;
  for (const GlobalClass label : labels_of(c, 0)) numbers.push_back(label.v);
  const at::Tensor labels = torch::tensor(numbers).to(kGpu);
  return milliseconds(3, 3, [&] { head->step(x, labels); });
}

/// What a process measures that measures nothing else, so that none finds the memory of another.
struct HeadArguments {
  std::int64_t identities = 0;
  double rate = 0;
  NumberType table = NumberType::kFloat32;
  std::string way = {};  ///< "ours", "dense", "gather"

  HeadCase head_case() const {
    HeadCase c{.identities = identities, .rate = rate, .batch = 1024, .head = {}};
    c.head.table = {.dim = kDim, .weights = table, .state = table, .device = kGpu};
    c.head.workspace_bytes = std::int64_t{4} << 30;
    return c;
  }
};

/// What a plain way holds at once without fail: the table, its momentum, its gradient and that with
/// the decay; or the table, the momentum and four times the sampled rows. Then the logits, twice.
double least_bytes(const HeadCase& c, bool dense) {
  const double row = kDim * sizeof(float), table = static_cast<double>(c.identities) * row;
  const double sampled = static_cast<double>(sampled_rows(c));
  const double weights = dense || c.rate == 1 ? 4 * table : 2 * table + 4 * sampled * row;
  return weights + 2 * sampled * static_cast<double>(c.batch) * sizeof(float);
}

/// Prints milliseconds, or that it does not fit.
[[noreturn]] void measure_one(const HeadArguments& arguments) {
  const HeadCase c = arguments.head_case();
  const bool ours = arguments.way == "ours", dense = arguments.way == "dense";
  try {
    if (!ours && least_bytes(c, dense) > static_cast<double>(pfc::gpu(0).free_bytes)) {
      std::printf("does not fit\n");
    } else {
      std::printf("%.3f\n", ours ? our_ms(c) : plain_ms(c, dense));
    }
  } catch (const c10::OutOfMemoryError&) {
    std::printf("does not fit\n");
  } catch (const Error& error) {  // a table that cannot be reserved
    std::fprintf(stderr, "%s\n", error.what());
    std::printf("does not fit\n");
  }
  std::fflush(stdout);
  std::_Exit(0);  // what ran out of memory on its way through autograd is not taken apart
}

std::string measured(const HeadArguments& arguments) {
  try {
    const std::optional<std::string> printed =
        run_self({"--head", std::to_string(arguments.identities), std::to_string(arguments.rate),
                  std::string(name_of(arguments.table)), arguments.way});
    return printed ? printed->substr(0, printed->find('\n')) : "killed";
  } catch (const Error&) {
    ++failures;
    return "failed";
  }
}

void measure_heads() {
  const Ceilings ceilings = measure_ceilings();
  give_memory_back();
  std::printf(
      "\nceilings: %.2f TB/s of copies (read and written), %.0f TFLOP/s in bfloat16 GEMMs of "
      "8192\n\n",
      ceilings.bytes_a_second / 1e12, ceilings.flops_a_second / 1e12);
  std::printf(
      "A step of the head, batch 1024, 512 numbers a centre, SGD, bfloat16 GEMMs; ms, medians\n");
  std::printf("%10s %5s  %-8s %12s %9s %8s  %12s %12s\n", "identities", "r", "table", "ours",
              "roofline", "of it", "plain dense", "plain gather");
  constexpr auto kWide = NumberType::kFloat32, kNarrow = NumberType::kBFloat16;
  for (const HeadArguments& each :
       {HeadArguments{1'000'000, 0.1, kWide}, HeadArguments{1'000'000, 1, kWide},
        HeadArguments{10'000'000, 0.1, kWide}, HeadArguments{10'000'000, 1, kWide},
        HeadArguments{10'000'000, 0.1, kNarrow}}) {
    const auto measure = [&](const char* way) {
      HeadArguments arguments = each;
      arguments.way = way;
      return measured(arguments);
    };
    // The plain ways know tables of float32 only.
    const std::string ours = measure("ours"), dense = each.table == kWide ? measure("dense") : "-",
                      gather = each.table == kWide ? measure("gather") : "-";
    const double bound = roofline_ms(each.head_case(), ceilings);
    const double ms = std::strtod(ours.c_str(), nullptr);
    std::printf("%10s %5.1f  %-8s %12s %9.2f %7.0f%%  %12s %12s\n",
                grouped(each.identities).c_str(), each.rate,
                std::string(name_of(each.table)).c_str(), ours.c_str(), bound,
                ms > 0 ? 100 * bound / ms : 0.0, dense.c_str(), gather.c_str());
    std::fflush(stdout);
  }
}

// Training.

/// Steps of r18 on faces of random pixels, each identity around a picture of its own, so that there
/// is something to learn.
void train(at::ScalarType precision, std::int64_t batch, std::int64_t steps) {
  constexpr std::int64_t kIdentities = 1000;
  const ClassShard shard(kIdentities, 0, 1);
  const ClassSampler sampler({.sample_rate = 0.3}, shard);
  auto backbone = make_backbone("r18", kDim, 1);
  backbone->to(kGpu);
  for (at::Tensor& parameter : backbone->parameters()) {
    if (parameter.dim() == 4)
      parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
  PartialFcOptions options;
  options.table = {.dim = kDim, .device = kGpu};
  PartialFc head(options, shard);
  const auto comm = make_self_communicator();
  GradientBuckets gradients(backbone->parameters(), *comm);
  torch::optim::SGD optimizer(backbone->parameters(),
                              torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(5e-4));
  std::optional<LossScaler> scaler;
  if (precision == at::kHalf) scaler.emplace(kGpu);
  Training training{*backbone,
                    head,
                    gradients,
                    optimizer,
                    *comm,
                    5,
                    NumberType::kFloat32,
                    precision,
                    scaler ? &*scaler : nullptr};
  backbone->train();
  at::manual_seed(1);
  const at::Tensor pictures = torch::rand({kIdentities, 112, 112, 3});
  std::vector<StepPlan> plans;
  std::vector<Batch> batches;
  for (std::int64_t i = 0; i < 10; ++i) {  // rotated: ten batches of ten identities' worth each
    StepPlan& plan = plans.emplace_back();
    std::vector<std::int64_t> identities;
    for (std::int64_t j = 0; j < batch; ++j) {
      identities.push_back((i * batch + j) % 100);
      plan.labels.push_back({identities.back()});
      plan.images.push_back(i * batch + j);
    }
    const at::Tensor noisy = pictures.index_select(0, torch::tensor(identities)) * 200 +
                             torch::rand({batch, 112, 112, 3}) * 55;
    const at::Tensor pixels = noisy.to(at::kByte).contiguous();
    batches.emplace_back().pixels.assign(pixels.const_data_ptr<std::uint8_t>(),
                                         pixels.const_data_ptr<std::uint8_t>() + pixels.numel());
    batches.back().valid.assign(static_cast<std::size_t>(batch), 1);
  }
  double first_loss = 0, last_loss = 0;
  std::optional<PendingStep> before;
  std::vector<double> seconds;
  auto mark = std::chrono::steady_clock::now();
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto i = static_cast<std::size_t>(step % 10);
    plans[i].step = step;
    plans[i].classes = sampler.draw(step, plans[i].labels);
    PendingStep now = train_step(plans[i], batches[i], 0.02, training);
    if (before) {
      const StepResult result = before->wait();
      if (step == 1) first_loss = result.loss;
      last_loss = result.loss;
    }
    before.emplace(std::move(now));
    if (step % 10 == 9) {
      const auto end = std::chrono::steady_clock::now();
      seconds.push_back(std::chrono::duration<double>(end - mark).count() / 10);
      mark = end;
    }
  }
  last_loss = before->wait().loss;
  seconds.erase(seconds.begin());
  std::printf("r18 in %-8s batch %lld, %lld steps: loss %.2f, then %.2f; %.0f images/s\n",
              name(precision).c_str(), static_cast<long long>(batch), static_cast<long long>(steps),
              first_loss, last_loss, static_cast<double>(batch) / median(std::move(seconds)));
  if (!(last_loss < 0.5 * first_loss)) {
    ++failures;
    std::printf("FAILED: the loss did not halve\n");
  }
}

/// A part of the checks; one that cannot go on does not keep the others from it.
void attempt(const std::function<void()>& part) {
  try {
    part();
  } catch (const std::exception& error) {
    ++failures;
    std::printf("FAILED: %s\n", error.what());
  }
  give_memory_back();
  std::fflush(stdout);
}

int run_checks(bool kernels_only) {
  if (gpus() == 0) {
    std::printf("no GPU here: not run\n");
    return 77;
  }
  const Gpu card = pfc::gpu(0);
  std::printf("%s, %.1f GB\n\n", card.name.c_str(), static_cast<double>(card.bytes) / 1e9);
  at::manual_seed(7);
  torch::globalContext().setBenchmarkCuDNN(true);
  attempt(check_kernels);
  if (kernels_only) return failures == 0 ? 0 : 1;
  attempt(check_heads);
  std::printf("\n");
  for (const auto precision : {at::kFloat, at::kBFloat16, at::kHalf})
    attempt([precision] { train(precision, 256, 100); });
  attempt(measure_heads);
  std::printf("\n%s\n", failures == 0 ? "all checks passed" : "CHECKS FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pfc

int main(int argc, char** argv) {
  try {
    if (argc == 6 && std::string(argv[1]) == "--head" && pfc::gpus() > 0) {
      pfc::measure_one({.identities = std::atoll(argv[2]),
                        .rate = std::atof(argv[3]),
                        .table = pfc::number_type(argv[4]),
                        .way = argv[5]});
    }
    const int status = pfc::run_checks(argc > 1 && std::string(argv[1]) == "--kernels");
    std::fflush(stdout);
    return status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_check: %s\n", error.what());
    return 1;
  }
}
