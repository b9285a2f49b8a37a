#include <cuda_runtime_api.h>

#include <torch/nn/functional/normalization.h>

#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpu_check/gpu_check.h"
#include "gpu_check/our_head.h"
#include "head_baselines.h"
#include "median.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/comm/gpus.h"
#include "pfc/head/head_memory.h"
#include "run_self.h"

namespace pfc::gpu_check {

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

namespace {

std::int64_t sampled_rows(const HeadCase& c) {
  const ClassSampler sampler({.sample_rate = c.rate}, ClassShard(c.identities, 0, 1));
  return sampler.draw(0, labels_of(c, 0)).count();
}

/// For a step: 6·B·S·d operations, 8 if probabilities are computed again; each sampled row is moved
/// three times, and what its optimizer keeps twice.
double roofline_ms(const HeadCase& c, const Ceilings& ceilings) {
  const std::int64_t sampled = sampled_rows(c);
  const bool again = PartialFc::keep(c.head, sampled, c.batch) == PartialFc::Keep::kNothing;
  const double numbers = static_cast<double>(sampled) * static_cast<double>(kDim);
  const double flops = (again ? 8 : 6) * static_cast<double>(c.batch) * numbers;
  const double weights = static_cast<double>(sampled * kDim * bytes_of(c.head.table.weights)),
               all = static_cast<double>(sampled * bytes_a_row(c.head.table));
  const double bytes = weights + 2 * all;
  return 1e3 * (flops / ceilings.flops_a_second + bytes / ceilings.bytes_a_second);
}

/// The median of five rounds; with a hundred million identities they are 50 steps.
double our_ms(const HeadCase& c) {
  OurHead head(c);
  const int calls = c.identities >= 100'000'000 ? 10 : head.sampled() > 500'000 ? 4 : 12;
  const double ms = milliseconds(5, calls, [&] { head.step(); });
  if (!std::isfinite(head.loss())) throw Error("the loss is not finite");
  return ms;
}

/// For a plain way, with its logits multiplied in bfloat16.
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

/// What a plain way certainly holds at once: the table, its momentum, its gradient and the gradient
/// with the decay; or the table, the momentum and four times the sampled rows. Then the logits,
/// twice.
double least_bytes(const HeadCase& c, bool dense) {
  const double row = kDim * sizeof(float), table = static_cast<double>(c.identities) * row;
  const double sampled = static_cast<double>(sampled_rows(c));
  const double weights = dense || c.rate == 1 ? 4 * table : 2 * table + 4 * sampled * row;
  return weights + 2 * sampled * static_cast<double>(c.batch) * sizeof(float);
}

/// By arithmetic: why our head would not fit; empty if it does.
std::string why_not(const HeadCase& c) {
  const ClassShard shard(c.identities, 0, 1);
  const ClassSampler sampler({.sample_rate = c.rate}, shard);
  const HeadMemory need = head_memory(
      c.head, shard,
      {.rows = sampler.most_rows(c.batch), .samples = c.batch, .threads = tiles_at_once(kGpu)});
  const auto free = gpu_properties(0).free_bytes, host = available_memory();
  if (need.on_device() > free) {
    return "it takes " + size_text(need.on_device()) + " of the card's memory, and " +
           size_text(free) + " are free";
  }
  if (need.table_is_apart && need.table > host) {
    return "the table takes " + size_text(need.table) + " of the host's memory, and " +
           size_text(host) + " are free";
  }
  return "";
}

/// What a process that measures a head has printed.
struct Measured {
  std::string said = {};
  double ms = 0, gigabytes = 0;  ///< 0 if it was not run

  std::string cell() const { return ms > 0 ? format("%.3f", ms) : said.substr(0, said.find(':')); }
};

Measured measured(const HeadArguments& arguments) {
  try {
    const std::optional<std::string> printed =
        run_self({"--head", std::to_string(arguments.identities), std::to_string(arguments.rate),
                  std::string(name_of(arguments.table)), arguments.way});
    Measured found{.said = printed ? printed->substr(0, printed->find('\n')) : "killed"};
    std::sscanf(found.said.c_str(), "%lf %lf", &found.ms, &found.gigabytes);
    return found;
  } catch (const Error&) {
    fail("measuring " + arguments.way);
    return {.said = "failed"};
  }
}

void compare_heads(const Ceilings& ceilings) {
  std::printf(
      "A step of the head, batch 1024, 512 numbers a centre, SGD, bfloat16 GEMMs; ms, medians\n");
  std::printf("%10s %5s  %-8s %12s %9s %8s  %12s %12s %15s\n", "identities", "r", "table", "ours",
              "roofline", "of it", "plain dense", "plain gather", "in host memory");
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
    // The plain ways support only float32 tables.
    const Measured ours = measure("ours");
    const std::string dense = each.table == kWide ? measure("dense").cell() : "-",
                      gather = each.table == kWide ? measure("gather").cell() : "-",
                      host = each.rate < 1 ? measure("host").cell() : "-";
    const double bound = roofline_ms(each.head_case(), ceilings);
    std::printf(
        "%10s %5.1f  %-8s %12s %9.2f %7.0f%%  %12s %12s %15s\n", grouped(each.identities).c_str(),
        each.rate, std::string(name_of(each.table)).c_str(), ours.cell().c_str(), bound,
        ours.ms > 0 ? 100 * bound / ours.ms : 0.0, dense.c_str(), gather.c_str(), host.c_str());
    std::fflush(stdout);
  }
}

void measure_many_identities(const Ceilings& ceilings) {
  constexpr std::int64_t kMany = 100'000'000;
  std::printf("\n%s identities on one card, in bfloat16 and without momentum; 50 steps\n",
              grouped(kMany).c_str());
  for (const double rate : {0.001, 0.01}) {
    const HeadArguments arguments{kMany, rate, NumberType::kBFloat16, "stateless"};
    const Measured ours = measured(arguments);
    std::printf("r %.3f: ", rate);
    if (ours.ms > 0) {
      const double bound = roofline_ms(arguments.head_case(), ceilings);
      std::printf("%.4f s a step, %.0f%% of its roofline's speed, %.1f GB\n", ours.ms / 1e3,
                  100 * bound / ours.ms, ours.gigabytes);
    } else {
      std::printf("not run, %s\n", ours.said.c_str());
    }
    std::fflush(stdout);
  }
}

}  // namespace

HeadCase HeadArguments::head_case() const {
  HeadCase c{.identities = identities, .rate = rate};
  c.head.table = {.dim = kDim,
                  .weights = table,
                  .state = table,
                  .device = kGpu,
                  .in_host_memory = way == "host"};
  if (way == "stateless") c.head.table.optimizer.momentum = 0;
  c.head.workspace_bytes = std::int64_t{4} << 30;
  return c;
}

void measure_head(const HeadArguments& arguments) {
  const HeadCase c = arguments.head_case();
  const bool dense = arguments.way == "dense", plain = dense || arguments.way == "gather";
  if (plain && least_bytes(c, dense) > static_cast<double>(gpu_properties(0).free_bytes)) {
    std::printf("does not fit\n");
    return;
  }
  if (const std::string reason = plain ? "" : why_not(c); !reason.empty()) {
    std::printf("does not fit: %s\n", reason.c_str());
    return;
  }
  const double ms = plain ? plain_ms(c, dense) : our_ms(c);
  std::printf("%.3f %.1f\n", ms, static_cast<double>(peak_gpu_memory(0)) / 1e9);
}

void measure_heads() {
  const Ceilings ceilings = measure_ceilings();
  give_memory_back();
  std::printf(
      "ceilings: %.2f TB/s of copies (read and written), %.0f TFLOP/s in bfloat16 GEMMs of "
      "8192\n\n",
      ceilings.bytes_a_second / 1e12, ceilings.flops_a_second / 1e12);
  compare_heads(ceilings);
  measure_many_identities(ceilings);
}

}  // namespace pfc::gpu_check
