#pragma once

#include <cstdint>

namespace pfc {

/// The best rates of this machine, to judge a step of the head by.
struct MachineCeilings {
  double flops_per_second = 0;  ///< in the three matrix products of a tile of the head
  double bytes_per_second = 0;  ///< of a large copy by all threads, read and written
};

/// The products are those of `batch` samples with tiles of 128 to 4096 class centres. Each is
/// measured as one product by all threads, and as one product in each thread at the same time; the
/// best tile and way count.
MachineCeilings measure_ceilings(std::int64_t batch, std::int64_t dim);

}  // namespace pfc
