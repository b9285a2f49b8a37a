#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gpu_check/our_head.h"
#include "gpu_check/small_training.h"
#include "head/head_steps.h"

namespace pfc::gpu_check {
namespace {

namespace profiler = torch::autograd::profiler;

/// Nanoseconds [begin, end) on the GPU's clock.
using Interval = std::pair<std::uint64_t, std::uint64_t>;

/// What the GPU did while body() ran, in order of time.
struct Work {
  std::string name;
  Interval when;
};
template <class Body>
std::vector<Work> work_of(const Body& body) {
  using torch::profiler::impl::ActivityType, torch::profiler::impl::ProfilerState;
  const torch::profiler::impl::ProfilerConfig config(ProfilerState::KINETO);
  const std::set<ActivityType> activities = {ActivityType::CUDA};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  body();
  wait_for_gpu();
  std::vector<Work> all;
  const auto found = profiler::disableProfiler();
  for (const profiler::KinetoEvent& event : found->events()) {
    if (event.deviceType() == at::kCUDA)
      all.push_back({event.name(), {event.startNs(), event.endNs()}});
  }
  std::ranges::sort(all, {}, &Work::when);
  return all;
}

/// Nanoseconds in which at least one of them was running.
std::uint64_t busy(const std::vector<Work>& all) {
  std::uint64_t sum = 0, until = 0;
  for (const auto& [name, when] : all) {
    if (when.second <= until) continue;
    sum += when.second - std::max(until, when.first);
    until = when.second;
  }
  return sum;
}

void print_profile(const std::string& what, const std::function<void()>& step) {
  constexpr int kWarmUp = 4, kSteps = 10;
  for (int i = 0; i < kWarmUp; ++i) step();  // graphs are recorded and buffers allocated
  wait_for_gpu();
  const std::vector<Work> all = work_of([&] {
    for (int i = 0; i < kSteps; ++i) step();
  });
  if (all.empty()) return fail("the profiler saw nothing of the GPU (CUPTI is missing?)");

  struct Sum {
    std::int64_t calls = 0;
    std::uint64_t nanoseconds = 0;
  };
  std::map<std::string, Sum> sums;
  std::uint64_t last = 0;
  for (const auto& [name, when] : all) {
    Sum& sum = sums[name];
    ++sum.calls;
    sum.nanoseconds += when.second - when.first;
    last = std::max(last, when.second);
  }
  std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
  std::ranges::sort(rows, std::greater(), [](const auto& row) { return row.second.nanoseconds; });
  const auto a_step = [&](std::uint64_t ns) { return static_cast<double>(ns) / 1e3 / kSteps; };
  std::printf("%s: a step is %.0f us, with something at work in %.0f of it\n", what.c_str(),
              a_step(last - all.front().when.first), a_step(busy(all)));
  std::printf("%9s %7s  kernel; where two run at once their sum is more than the step\n",
              "us a step", "calls");
  for (const auto& [name, sum] : rows) {
    std::printf("%9.1f %7.1f  %.110s\n", a_step(sum.nanoseconds),
                static_cast<double>(sum.calls) / kSteps, name.c_str());
  }
  std::printf("\n");
}

/// The GEMMs of a tile of the head, one by one. The one that sums over classes is measured for
/// every number of parts that the head may use (sum_parts).
void print_products() {
  constexpr std::int64_t kSamples = 1024, kClasses = 16'384;
  constexpr auto kType = at::kBFloat16;
  const at::Tensor x = random({kSamples, kDim}, kType), unit = random({kClasses, kDim}, kType),
                   p = random({kSamples, kClasses}, kType);
  const auto wide = at::TensorOptions(kGpu).dtype(at::kFloat);
  at::Tensor cosines = torch::empty({kSamples, kClasses}, wide),
             d_unit = torch::empty({kClasses, kDim}, wide);
  const auto print = [&](const std::string& what, const std::function<void()>& product) {
    const double ms = milliseconds(5, 20, product);
    std::printf("%9.1f us %6.0f TFLOP/s  %s\n", 1e3 * ms,
                2e-9 * static_cast<double>(kSamples * kClasses * kDim) / ms, what.c_str());
  };
  std::printf("GEMMs of a tile: %lld samples, %lld classes, %lld numbers, bfloat16 into float32\n",
              static_cast<long long>(kSamples), static_cast<long long>(kClasses),
              static_cast<long long>(kDim));
  print("cosines = x unit'", [&] { at::mm_out(cosines, x, unit.t(), at::kFloat); });
  const kernels::cuda::StepScalars scalars{.count = kClasses};
  const at::Tensor step = torch::from_blob(const_cast<kernels::cuda::StepScalars*>(&scalars),
                                           {std::int64_t{sizeof(scalars)}}, at::kByte)
                              .to(kGpu),
                   targets = torch::full({kSamples}, -1, wide.dtype(at::kInt)),
                   exponentials =
                       torch::zeros({kernels::cuda::exponential_sums(kClasses), kSamples},
                                    wide.dtype(at::kDouble));
  print("the same, and p = their exponentials, in one kernel", [&] {
    kernels::cuda::exponentials(
        {kSamples,
         {nullptr, static_cast<const kernels::cuda::StepScalars*>(step.const_data_ptr()), 0,
          kClasses}},
        CosFace(), {.scale = 1e-3}, /*shift=*/0, {x.const_data_ptr(), unit.const_data_ptr(), kDim},
        targets.const_data_ptr<std::int32_t>(), exponentials.data_ptr<double>(), p.data_ptr(),
        stream());
  });
  print("d_unit = p' x", [&] { at::mm_out(d_unit, p.t(), x, at::kFloat); });
  for (std::int64_t parts = 1; parts <= kMostSumParts; parts *= 2) {
    const at::Tensor of_p = p.view({kSamples, parts, -1}).transpose(0, 1),
                     of_unit = unit.view({parts, -1, kDim});
    at::Tensor sums = torch::zeros({parts, kSamples, kDim}, wide);
    print("d_embeddings += p unit, parts: " + std::to_string(parts),
          [&] { at::baddbmm_out(sums, sums, of_p, of_unit, at::kFloat); });
  }
  std::printf("\n");
}

}  // namespace

void profile() {
  print_products();
  for (const double rate : {0.1, 1.0}) {
    OurHead head(HeadArguments{.identities = 1'000'000, .rate = rate, .way = "ours"}.head_case());
    print_profile("head, 1,000,000 identities, r " + std::to_string(rate), [&] { head.step(); });
  }
  give_memory_back();
  for (const auto precision : {at::kBFloat16, at::kHalf}) {
    SmallTraining run({.precision = precision});
    print_profile("training of r18 in " + name(precision) + ", batch 256", [&] { run.step(); });
  }
}

}  // namespace pfc::gpu_check
