#include <chrono>
#include <cmath>
#include <cstdio>

#include "gpu_check/small_training.h"
#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

namespace pfc::gpu_check {

void measure_training(const SmallTrainingOptions& options, double seconds) {
  constexpr int kWarmUp = 5, kLeast = 2;  // the first fill buffers and record graphs
  SmallTraining run(options);
  for (int step = 0; step < kWarmUp; ++step) run.step();
  wait_for_gpu();
  int steps = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  for (; steps < kLeast || passed() < seconds; ++steps) run.step();
  wait_for_gpu();
  const double a_step = passed() / steps, loss = run.loss();
  if (!std::isfinite(loss)) throw Error("the loss is not finite");
  std::printf("{\"seconds\": %.6f, \"bytes\": %lld, \"loss\": %.3f}\n", a_step,
              static_cast<long long>(peak_gpu_memory(0)), loss);
}

}  // namespace pfc::gpu_check
