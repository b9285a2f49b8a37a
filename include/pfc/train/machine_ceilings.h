#pragma once

#include <cstdint>

namespace pfc {

/// What this machine does at best, by which a head's step can be judged.
struct MachineCeilings {
  double flops_per_second = 0;  ///< in the three matrix products of a tile of the head
  double bytes_per_second = 0;  ///< read and written, of a large copy by all threads
};

/// The products are those of `batch` samples with tiles of 128 to 4096 class centres, as one
/// product by all threads and as one a thread at the same time; the best tile and way counts.
MachineCeilings measure_ceilings(std::int64_t batch, std::int64_t dim);

}  // namespace pfc
