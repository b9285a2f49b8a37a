#pragma once

#include <atomic>

// A file of kernels is compiled once for each of Highway's targets (instruction sets). This chooses
// the one that runs. Highway's own choice is a function of its shared library; with this one its
// headers are all that is needed.

namespace pfc::kernels {

/// Highway's targets for x86; each has what is before it. kBaseline is what the compiler was told
/// to take for granted: on other processors all there is (NEON on ARM).
enum class Target { kBaseline, kSse4, kAvx2, kAvx3 };

/// The most that this processor has.
Target target_of_processor();

/// The one that kernels run on. It is that of the processor; tests set another.
std::atomic<Target>& target_in_use();

/// A null pointer stands for a target that the kernel was not compiled for.
template <class Kernel>
Kernel best(Kernel avx3, Kernel avx2, Kernel sse4, Kernel baseline) {
  const Target target = target_in_use().load(std::memory_order_relaxed);
  if (avx3 != nullptr && target >= Target::kAvx3) return avx3;
  if (avx2 != nullptr && target >= Target::kAvx2) return avx2;
  if (sse4 != nullptr && target >= Target::kSse4) return sse4;
  return baseline;
}

}  // namespace pfc::kernels

/// The function `kernel` of the file that is compiled for each target, for the one in use. In the
/// namespace that encloses HWY_NAMESPACE.
#define PFC_BEST(kernel)                                                         \
  (*::pfc::kernels::best<decltype(&HWY_STATIC_DISPATCH(kernel))>(                \
      HWY_CHOOSE_AVX3(kernel), HWY_CHOOSE_AVX2(kernel), HWY_CHOOSE_SSE4(kernel), \
      HWY_CHOOSE_FALLBACK(kernel)))
