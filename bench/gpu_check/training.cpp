#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

#include "gpu_check/small_training.h"
#include "median.h"

namespace pfc::gpu_check {

void measure_training() {
  constexpr std::int64_t kBatch = 256;
  constexpr int kRounds = 10, kSteps = 10;
  for (const auto precision : {at::kFloat, at::kBFloat16, at::kHalf}) {
    {
      SmallTraining run(precision, kBatch);
      std::vector<double> seconds;
      for (int round = 0; round < kRounds; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        for (int step = 0; step < kSteps; ++step) run.step();
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
        if (round > 0) seconds.push_back(passed.count() / kSteps);
      }
      std::printf("training of r18 in %-8s batch %lld: %.0f images/s\n", name(precision).c_str(),
                  static_cast<long long>(kBatch),
                  static_cast<double>(kBatch) / median(std::move(seconds)));
    }
    give_memory_back();
  }
}

}  // namespace pfc::gpu_check
