#include "head/kernels/best_target.h"

namespace pfc::kernels {

Target target_of_processor() {
#ifdef __x86_64__
  // What GCC and clang both know by name. Highway also asks for F16C and LZCNT with AVX2: every
  // processor that has AVX2, FMA and BMI2 has them.
  const bool sse4 = __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2") &&
                    __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("aes");
  const bool avx2 = sse4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx3 = avx2 && __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512bw");
  return avx3 ? Target::kAvx3 : avx2 ? Target::kAvx2 : sse4 ? Target::kSse4 : Target::kBaseline;
#else
  return Target::kBaseline;
#endif
}

std::atomic<Target>& target_in_use() {
  static std::atomic<Target> target{target_of_processor()};
  return target;
}

}  // namespace pfc::kernels
