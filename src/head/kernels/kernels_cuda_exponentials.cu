#include <numbers>

#include "head/kernels/kernels_cuda_device.h"
#include "head/kernels/kernels_cuda_instructions.h"
#include "head/kernels/kernels_cuda_logits.h"

/// The first GEMM of a tile, whose sums never reach memory: they leave the registers as
/// exponentials.
///
/// A block makes kRows × kColumns cosines, a warp a quarter of them. The rows of x and of the unit
/// centres come kDepth numbers at a time, kStages − 1 steps ahead. Blocks are as large as registers
/// allow for two on a multiprocessor, of which one multiplies while the other makes exponentials.
/// Each byte that copies write to shared memory or warps load from it then serves 26 operations;
/// with fewer than 20 an H100's tensor cores would wait for it (docs/gpu.md).
namespace pfc::kernels::cuda {
namespace {

constexpr unsigned kRows = 128, kColumns = 192, kDepth = 32, kStages = 4;
constexpr unsigned kWarpsAcross = 2, kWarpsDown = 2, kThreads = kWarpsAcross * kWarpsDown * kWarp;
constexpr unsigned kWarpRows = kRows / kWarpsDown, kWarpColumns = kColumns / kWarpsAcross;
/// A lane loads, stores and copies 16 bytes.
constexpr unsigned kVector = 8, kVectorBytes = 16;
constexpr unsigned kVectors = kDepth / kVector;  ///< of a row in a stage
constexpr unsigned kStageBytes = (kRows + kColumns) * kVectors * kVectorBytes;
constexpr int kSharedBytes = kStages * kStageBytes;

/// Where a vector lies in a stage. Two rows fill the 128 bytes that shared memory gives at once;
/// vectors are permuted so that one column of eight rows lies in eight different places of them.
constexpr __host__ __device__ unsigned place_of(unsigned row, unsigned vector) {
  return (row * kVectors + (vector ^ (row / 2 % kVectors))) * kVectorBytes;
}
constexpr bool columns_do_not_collide() {
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    unsigned places = 0;
    for (unsigned row = 0; row < 8; ++row) places |= 1u << place_of(row, vector) / kVectorBytes % 8;
    if (places != 0xff) return false;
  }
  return true;
}
static_assert(kVectors == 4 && columns_do_not_collide());

/// Rows of one of the factors, [rows, dim].
struct Rows {
  const __nv_bfloat16* data;
  unsigned first, end, dim;

  /// Requests the step's numbers of kCount rows from `first` on; what is beyond the matrix is 0.
  template <unsigned kCount>
  __device__ void request(unsigned step, unsigned to) const {
    constexpr unsigned kAtOnce = kThreads / kVectors;
    static_assert(kCount % kAtOnce == 0 && kAtOnce % 8 == 0);
    const unsigned mine = threadIdx.x / kVectors, vector = threadIdx.x % kVectors;
    const unsigned j = step * kDepth + vector * kVector;
    const __nv_bfloat16* const from = data + std::int64_t{first + mine} * dim + j;
    to += place_of(mine, vector);
#pragma unroll
    for (unsigned row = 0; row < kCount; row += kAtOnce)
      request_copy(to + place_of(row, 0), from + std::int64_t{row} * dim,
                   first + mine + row >= end || j >= dim);
  }
};

/// A warp's part of a block's cosines.
struct WarpSums {
  static constexpr int kDown = kWarpRows / 16, kAcross = kWarpColumns / 8;
  Sums16x8 sums[kDown][kAcross];

  /// Adds the products of a stage; x and unit are where the warp's rows begin.
  __device__ void add(unsigned x, unsigned unit) {
    const unsigned lane = threadIdx.x % kWarp;
    // Of x the upper eight rows come before the lower ones, of the centres the left eight numbers
    // before the right ones.
    x += place_of(lane % 16, lane / 16);
    unit += place_of(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned other_half = half * 2 * kVectorBytes;  // a bit of a vector's place
      FourBlocks a[kDown];
#pragma unroll
      for (int m = 0; m < kDown; ++m)
        a[m] = load_blocks((x ^ other_half) + place_of(static_cast<unsigned>(m) * 16, 0));
#pragma unroll
      for (int n = 0; n < kAcross; n += 2) {
        const FourBlocks b =
            load_blocks((unit ^ other_half) + place_of(static_cast<unsigned>(n) * 8, 0));
#pragma unroll
        for (int m = 0; m < kDown; ++m) {
          multiply_add(sums[m][n], a[m], b.words[0], b.words[1]);
          multiply_add(sums[m][n + 1], a[m], b.words[2], b.words[3]);
        }
      }
    }
  }
};

/// What becomes of a block's cosines.
template <class Others>
struct Outcome {
  TileShape tile;
  Logits logits;
  Others others;
  float scale, offset;  ///< the exponential is 2^(scale · cosine + offset)
  const std::int32_t* targets;
  double* sums;                  ///< [sums, N] or null
  __nv_bfloat16* probabilities;  ///< [N, size]
};

/// Four lanes have a word of each of four blocks; afterwards lane t has the four of block t.
__device__ void give_each_lane_a_block(unsigned (&words)[4]) {
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    const bool upper = (threadIdx.x & static_cast<unsigned>(step)) != 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if ((k & step) != 0) continue;
      const unsigned got = __shfl_xor_sync(kAllLanes, upper ? words[k] : words[k + step], step);
      words[k] = upper ? got : words[k];
      words[k + step] = upper ? words[k + step] : got;
    }
  }
}

/// Stores the exponentials of a row of the warp's cosines, from column `first` of the tile on;
/// `half` chooses g or g + 8 of a block's rows. Gives the sum of the lane's.
template <class Others>
__device__ float store_row(const Outcome<Others>& of, Sums16x8 (&cosines)[WarpSums::kAcross],
                           int half, unsigned i, int first) {
  const int columns = static_cast<int>(of.tile.classes.size), t = static_cast<int>(threadIdx.x % 4);
  const bool exists = i < of.tile.samples;
  if (!exists) i = 0;  // the other lanes still need this one
  const auto other = of.others.of(i);
  const CountedColumns counted(of.tile, of.logits, of.targets, i);
  const auto each = [&](const auto& f) {
#pragma unroll
    for (int n = 0; n < WarpSums::kAcross; ++n) {
      float* const z = cosines[n].values + 2 * half;
      f(z[0], first + n * 8 + 2 * t);
      f(z[1], first + n * 8 + 2 * t + 1);
    }
  };
  if (counted.filters()) each([&](float& z, int) { z = counted.below(z); });
  if (counted.leaves_out(first, int{kWarpColumns}))
    each([&](float& z, int j) { z = counted.at(z, j); });

  float sum = 0;
  const auto outcome_of = [&](float z) {
    if constexpr (decltype(of.others.of(i))::kBends) {
      const OtherCosine bent = other(z);
      const float p = power_of_two(fmaf(bent.value, of.scale, of.offset));
      sum += p;
      return p * bent.slope;
    } else {
      const float p = power_of_two(fmaf(z, of.scale, of.offset));
      sum += p;
      return p;
    }
  };
#pragma unroll
  for (int n = 0; n < WarpSums::kAcross; n += 4) {
    unsigned words[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float* const z = cosines[n + k].values + 2 * half;
      words[k] = bits_of(__float22bfloat162_rn({outcome_of(z[0]), outcome_of(z[1])}));
    }
    give_each_lane_a_block(words);
    const int j = first + (n + t) * 8;
    if (exists && j < columns)
      *reinterpret_cast<uint4*>(of.probabilities + std::int64_t{i} * columns + j) = {
          words[0], words[1], words[2], words[3]};
  }
  return sum;
}

template <class Others>
__global__ void __launch_bounds__(kThreads, 2)
    exponentials_kernel(Outcome<Others> outcome, const __nv_bfloat16* x, const __nv_bfloat16* unit,
                        unsigned dim, unsigned row_blocks) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  const auto samples = static_cast<unsigned>(outcome.tile.samples),
             columns = static_cast<unsigned>(outcome.tile.classes.size);
  // Blocks with the same centres follow one another.
  const unsigned first_row = blockIdx.x % row_blocks * kRows,
                 first_column = blockIdx.x / row_blocks * kColumns;
  const Rows of_x{x, first_row, samples, dim}, of_unit{unit, first_column, columns, dim};
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned row = warp / kWarpsAcross * kWarpRows, column = warp % kWarpsAcross * kWarpColumns;

  const unsigned shared = dynamic_shared();
  constexpr unsigned kUnit = place_of(kRows, 0);  // behind x
  const auto stage_of = [&](unsigned step) { return shared + step % kStages * kStageBytes; };
  const unsigned steps = (dim + kDepth - 1) / kDepth;
  const auto request = [&](unsigned step) {
    if (step < steps) {
      of_x.request<kRows>(step, stage_of(step));
      of_unit.request<kColumns>(step, stage_of(step) + kUnit);
    }
    end_copy_group();
  };
  WarpSums cosines = {};
  for (unsigned step = 0; step < kStages - 1; ++step) request(step);
  for (unsigned step = 0; step < steps; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // for the copies of all threads, and until all have used the last stage
    request(step + kStages - 1);
    cosines.add(stage_of(step) + place_of(row, 0), stage_of(step) + kUnit + place_of(column, 0));
  }

  const std::int64_t of_sums = std::int64_t{(first_column + column) / kWarpColumns} * samples;
#pragma unroll
  for (int m = 0; m < WarpSums::kDown; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const unsigned i = first_row + row + static_cast<unsigned>(m * 16 + half * 8) + lane / 4;
      float sum =
          store_row(outcome, cosines.sums[m], half, i, static_cast<int>(first_column + column));
      sum += __shfl_xor_sync(kAllLanes, sum, 1);
      sum += __shfl_xor_sync(kAllLanes, sum, 2);
      if (outcome.sums != nullptr && lane % 4 == 0 && i < samples)
        outcome.sums[of_sums + i] += double{sum} / kRaised;
    }
  }
#endif
}

}  // namespace

std::int64_t exponential_sums(std::int64_t columns) {
  return ceil_divide<std::int64_t>(columns, kColumns) * kWarpsAcross;
}

bool has_exponentials() {
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(
      &attributes, reinterpret_cast<const void*>(exponentials_kernel<AsTheyAre>));
  if (error != cudaSuccess) (void)cudaGetLastError();  // no code for this GPU
  constexpr int kNeeded = 80;
  return error == cudaSuccess && attributes.ptxVersion >= kNeeded;
}

void exponentials(const TileShape& tile, const Loss& loss, const Logits& logits, float shift,
                  const Factors& factors, const std::int32_t* targets, double* sums,
                  void* probabilities, Stream stream) {
  constexpr double kLog2OfRaised = 15;
  static_assert(kRaised == 1 << 15);
  const unsigned row_blocks = blocks_for(tile.samples, kRows),
                 blocks = row_blocks * blocks_for(tile.classes.size, kColumns);
  with_others(loss, logits, [&]<class Others>(const Others& others) {
    const Outcome<Others> outcome{
        .tile = tile,
        .logits = logits,
        .others = others,
        .scale = static_cast<float>(double{logits.scale} * std::numbers::log2e),
        .offset = static_cast<float>(kLog2OfRaised - double{shift} * std::numbers::log2e),
        .targets = targets,
        .sums = sums,
        .probabilities = static_cast<__nv_bfloat16*>(probabilities)};
    const auto* const kernel = reinterpret_cast<const void*>(exponentials_kernel<Others>);
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
    (void)cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared);
    exponentials_kernel<<<blocks, kThreads, kSharedBytes, stream>>>(
        outcome, static_cast<const __nv_bfloat16*>(factors.x),
        static_cast<const __nv_bfloat16*>(factors.unit), static_cast<unsigned>(factors.dim),
        row_blocks);
  });
  check_launch("exponentials");
}

}  // namespace pfc::kernels::cuda
