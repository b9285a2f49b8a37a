#include "pfc/train/machine_ceilings.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

namespace pfc {
namespace {

/// A ceiling is the rate without disturbance: the least time of several.
template <typename Body>
double least_seconds(const Body& body) {
  using Clock = std::chrono::steady_clock;
  constexpr int kTimes = 7;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTimes; ++i) {
    const auto start = Clock::now();
    body();
    least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return least;
}

/// The head's products for a tile of K class centres, in buffers of their own.
class TileProducts {
 public:
  TileProducts(std::int64_t rows, std::int64_t batch, std::int64_t dim)
      : centers_(at::randn({rows, dim})),
        embeddings_(at::randn({batch, dim})),
        logits_(at::empty({rows, batch})),
        d_embeddings_(at::zeros({batch, dim})),
        d_centers_(at::empty({rows, dim})) {}

  void run() {
    at::mm_out(logits_, centers_, embeddings_.t());
    d_embeddings_.addmm_(logits_.t(), centers_);
    at::mm_out(d_centers_, logits_, embeddings_);
  }

 private:
  at::Tensor centers_, embeddings_, logits_, d_embeddings_, d_centers_;
};

/// The rate for `at_once` tiles at the same time; a single tile has all threads.
double products_rate(std::int64_t at_once, std::int64_t rows, std::int64_t batch,
                     std::int64_t dim) {
  std::vector<TileProducts> tiles;
  for (std::int64_t i = 0; i < at_once; ++i) tiles.emplace_back(rows, batch, dim);
  const double flops = 6.0 * static_cast<double>(batch * rows * dim);
  const int passes = std::max(
      1, static_cast<int>(
             4e9 /
             flops));  // much longer than a clock's resolution and the start of a parallel region
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (int pass = 0; pass < passes; ++pass) tiles[static_cast<std::size_t>(i)].run();
    }
  };
  const double seconds = least_seconds([&] {
    if (at_once == 1) {
      run(0, 1);
    } else {
      at::parallel_for(0, at_once, 1, run);
    }
  });
  return static_cast<double>(at_once) * passes * flops / seconds;
}

}  // namespace

MachineCeilings measure_ceilings(std::int64_t batch, std::int64_t dim) {
  MachineCeilings best;
  for (const std::int64_t rows : {128, 256, 512, 1024, 2048, 4096}) {
    for (const std::int64_t at_once : {1, at::get_num_threads()}) {
      best.flops_per_second =
          std::max(best.flops_per_second, products_rate(at_once, rows, batch, dim));
    }
  }
  constexpr std::int64_t kBytes = std::int64_t{256} << 20;  // much larger than any cache
  const at::Tensor from = at::zeros({kBytes}, at::kByte);
  at::Tensor to = at::zeros_like(from);
  best.bytes_per_second = 2.0 * kBytes / least_seconds([&] { to.copy_(from); });
  return best;
}

}  // namespace pfc
