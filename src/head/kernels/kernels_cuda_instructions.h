#pragma once

#include <cuda_runtime_api.h>

/// Instructions of a GPU that C++ has no name for, one function each: copies that run beside the
/// computation, and a warp's multiplication of small matrices. They need compute capability 8.0. In
/// their layouts lane l of a warp has g = l / 4 and t = l % 4 (PTX ISA, "Matrix Fragments for
/// mma.m16n8k16"). Shared memory is addressed by bytes, as these instructions do it.
///
/// A simulated GPU brings its own (tests/simulated_gpu/instructions.cpp).
namespace pfc::kernels::cuda {

/// Numbers of a matrix that a lane has, in bfloat16, two in a word: 8×8 numbers of a matrix are one
/// word of each lane, which is row g, columns 2t and 2t + 1.
struct FourBlocks {
  unsigned words[4];
};
/// Of 16×8 sums: row g, columns 2t and 2t + 1, then the same of row g + 8.
struct Sums16x8 {
  float values[4];
};

/// Where the block's shared memory begins that its launch asked for.
__device__ unsigned dynamic_shared();
/// Asks for a copy of 16 bytes of global memory, or for zeros, which read nothing.
__device__ void request_copy(unsigned to, const void* from, bool zeros);
/// All copies requested since the last call are one group.
__device__ void end_copy_group();
/// Waits for this thread's groups but for the last kUnderWay of them.
template <int kUnderWay>
__device__ void wait_for_copies();
/// Four blocks of 8×8. Lane l's address is that of row l % 8 of block l / 8, which has 16 bytes.
__device__ FourBlocks load_blocks(unsigned row);
/// sums += a·bᵀ. a [16, 16] has its upper left block, lower left, upper right and lower right; the
/// blocks of b [8, 16] are its left and right one.
__device__ void multiply_add(Sums16x8& sums, const FourBlocks& a, unsigned b_left,
                             unsigned b_right);
/// 2ˣ to 2⁻²² of it; 0 below 2⁻¹²⁶.
__device__ float power_of_two(float x);

#ifdef __CUDACC__
inline __device__ unsigned dynamic_shared() {
  extern __shared__ __align__(128) unsigned char memory[];
  return static_cast<unsigned>(__cvta_generic_to_shared(memory));
}
inline __device__ void request_copy(unsigned to, const void* from, bool zeros) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(zeros ? 0 : 16));
}
inline __device__ void end_copy_group() {
  asm volatile("cp.async.commit_group;");
}
template <int kUnderWay>
inline __device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kUnderWay) : "memory");
}
inline __device__ FourBlocks load_blocks(unsigned row) {
  FourBlocks a;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a.words[0]), "=r"(a.words[1]), "=r"(a.words[2]), "=r"(a.words[3])
               : "r"(row));
  return a;
}
inline __device__ void multiply_add(Sums16x8& sums, const FourBlocks& a, unsigned b_left,
                                    unsigned b_right) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums.values[0]), "+f"(sums.values[1]), "+f"(sums.values[2]), "+f"(sums.values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b_left),
        "r"(b_right));
}
inline __device__ float power_of_two(float x) {
  float y = 0;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
#endif

}  // namespace pfc::kernels::cuda
