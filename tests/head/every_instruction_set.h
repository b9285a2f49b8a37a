#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "head/kernels/best_target.h"
#include "head/kernels/kernels.h"

namespace pfc {

/// Those for which the kernels were compiled. The portable kernels have one.
inline std::vector<kernels::Target> compiled_targets() {
  using kernels::Target;
#ifdef __x86_64__
  if (std::string_view(kernels::instruction_set()) != "scalar")
    return {Target::kBaseline, Target::kSse4, Target::kAvx2, Target::kAvx3};
#endif
  return {Target::kBaseline};
}

/// Calls body() on each of them that this processor has.
template <class Body>
void on_every_instruction_set(const Body& body) {
  const kernels::Target best = kernels::target_of_processor();
  for (const kernels::Target target : compiled_targets()) {
    if (target > best) continue;
    SCOPED_TRACE(static_cast<int>(target));
    kernels::target_in_use() = target;
    body();
  }
  kernels::target_in_use() = best;
}

}  // namespace pfc
