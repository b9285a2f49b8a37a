#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pfc/eval/roc.h"

namespace pfc {

struct RocCurve {
  std::string_view name;
  const Roc& roc;
};

/// ROC curves as a self-contained SVG: TAR over FAR, which is on a logarithmic axis from one
/// impostor pair to 1; the operating points at FAR 1e-4 … 1e-1 marked, and their figures and the
/// equal error rates in a table that is the legend. `curves` must not be empty.
std::string roc_svg(std::string_view title, std::span<const RocCurve> curves);

}  // namespace pfc
