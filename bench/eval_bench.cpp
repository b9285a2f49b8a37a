// How fast all impostor pairs of made-up embeddings are scored, beside the best float32 GEMM rate
// of the same machine, measured in turn with it: the arithmetic that the pairs need, over the time
// of the whole IFRT evaluation.
//
//   eval_bench [--images N] [--identities N] [--rounds N]
//
// Under mpirun the pairs are shared over the ranks, and the GEMM rate is of all ranks together.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "median.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/comm/placement.h"
#include "pfc/eval/ifrt.h"

namespace {

using namespace pfc;

constexpr std::int64_t kDim = 512;

struct Options {
  std::int64_t images = 200'000, identities = 30'000;
  int rounds = 3;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The highest of several shapes, each by all threads.
double best_gemm_rate() {
  double best = 0;
  for (const auto& [m, n, k] :
       {std::array<std::int64_t, 3>{4096, 4096, 512}, std::array<std::int64_t, 3>{8192, 8192, 512},
        std::array<std::int64_t, 3>{4096, 4096, 4096}}) {
    const at::Tensor a = at::randn({m, k}), b = at::randn({n, k});
    at::Tensor c = at::empty({m, n});
    at::mm_out(c, a, b.t());
    for (int i = 0; i < 5; ++i) {
      const double seconds = seconds_of([&] { at::mm_out(c, a, b.t()); });
      best = std::max(best, 2.0 * static_cast<double>(m * n * k) / seconds);
    }
  }
  return best;
}

/// Random directions, and names that say who is who.
std::unique_ptr<Features> random_features(const Options& options) {
  const at::Tensor rows = at::randn({options.images, kDim},
                                    at::make_generator<at::CPUGeneratorImpl>(1));  // on all ranks
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < options.images; ++i)
    names.push_back(std::to_string(i % options.identities) + "/" + std::to_string(i));
  const auto* const values = rows.const_data_ptr<float>();
  return make_features({values, values + rows.numel()}, kDim, std::move(names));
}

void run(const Options& options) {
  const auto comm = join_ranks(find_launch(), UseGpus::kNever);
  set_threads(0, place_ranks(*comm));
  const auto features = random_features(options);
  std::vector<double> ratios;
  if (comm->is_first()) {
    std::printf("%s images of %s identities, %d ranks of %d threads\n",
                grouped(options.images).c_str(), grouped(options.identities).c_str(), comm->world(),
                at::get_num_threads());
  }
  for (int round = 0; round < options.rounds; ++round) {
    comm->barrier();
    at::Tensor gemm = at::full({1}, best_gemm_rate(), at::kDouble);
    comm->all_reduce(gemm).wait();
    reset_peak_memory();
    double first_pass = 0;
    IfrtResult result;
    const auto start = std::chrono::steady_clock::now();
    const double seconds = seconds_of([&] {
      result = evaluate_ifrt(*features,
                             {.fars = {1e-6},
                              .progress =
                                  [&](auto, auto) {
                                    first_pass = std::chrono::duration<double>(
                                                     std::chrono::steady_clock::now() - start)
                                                     .count();
                                  }},
                             *comm);
    });
    const GroupResult& all = result.groups.back();
    const double flops = 2.0 * kDim * static_cast<double>(all.impostors);
    ratios.push_back(flops / seconds / gemm.item<double>());
    if (!comm->is_first()) continue;
    std::printf(
        "GEMM %.0f GFLOP/s; %s impostor pairs in %.1f s (%.1f s until the histogram was made): "
        "%.0f GFLOP/s, %.1f %%; peak memory %.0f MB\n",
        gemm.item<double>() / 1e9, grouped(all.impostors).c_str(), seconds, first_pass,
        flops / seconds / 1e9, 100 * ratios.back(), static_cast<double>(peak_memory()) / 1e6);
    std::fflush(stdout);
  }
  if (comm->is_first()) std::printf("median %.1f %% of the GEMM rate\n", 100 * median(ratios));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("All impostor pairs of made-up embeddings, beside the GEMM rate");
  app.add_option("--images", options.images)->capture_default_str();
  app.add_option("--identities", options.identities)->capture_default_str();
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "eval_bench: %s\n", error.what());
    return 1;
  }
}
