#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <torch/nn/functional/normalization.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
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
#include "pfc/comm/gpus.h"
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

namespace {

/// The best that the card can do.
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
  return sampler.draw(0, labels_of(c, 0)).count();
}

/// For a step: 6·B·S·d operations, 8 if probabilities are computed again; 3 rows and 2 states of
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

double our_ms(const HeadCase& c) {
  OurHead head(c);
  const double ms = milliseconds(5, head.sampled() > 500'000 ? 4 : 12, [&] { head.step(); });
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

std::string measured(const HeadArguments& arguments) {
  try {
    const std::optional<std::string> printed =
        run_self({"--head", std::to_string(arguments.identities), std::to_string(arguments.rate),
                  std::string(name_of(arguments.table)), arguments.way});
    return printed ? printed->substr(0, printed->find('\n')) : "killed";
  } catch (const Error&) {
    fail("measuring " + arguments.way);
    return "failed";
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
  c.head.workspace_bytes = std::int64_t{4} << 30;
  return c;
}

void measure_one(const HeadArguments& arguments) {
  const HeadCase c = arguments.head_case();
  const bool ours = arguments.way == "ours" || arguments.way == "host",
             dense = arguments.way == "dense";
  try {
    if (!ours && least_bytes(c, dense) > static_cast<double>(gpu_properties(0).free_bytes)) {
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
  std::_Exit(0);  // after running out of memory inside autograd, nothing is destroyed in order
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
    const std::string ours = measure("ours"), dense = each.table == kWide ? measure("dense") : "-",
                      gather = each.table == kWide ? measure("gather") : "-",
                      host = each.rate < 1 ? measure("host") : "-";
    const double bound = roofline_ms(each.head_case(), ceilings);
    const double ms = std::strtod(ours.c_str(), nullptr);
    std::printf("%10s %5.1f  %-8s %12s %9.2f %7.0f%%  %12s %12s %15s\n",
                grouped(each.identities).c_str(), each.rate,
                std::string(name_of(each.table)).c_str(), ours.c_str(), bound,
                ms > 0 ? 100 * bound / ms : 0.0, dense.c_str(), gather.c_str(), host.c_str());
    std::fflush(stdout);
  }
}

}  // namespace pfc::gpu_check
