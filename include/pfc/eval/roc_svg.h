#pragma once

#include <span>
#include <string>
#include <string_view>

#include "pfc/eval/chart.h"
#include "pfc/eval/roc.h"

namespace pfc {

struct RocCurve {
  std::string_view name;
  const Roc& roc;
};

/// TAR over FAR, which is on a logarithmic axis from one impostor pair to 1; the operating points
/// at FAR 1e-4 … 1e-1 marked. `curves` must not be empty.
Chart roc_chart(std::string_view title, std::span<const RocCurve> curves);
/// The same as a self-contained SVG, the figures at those points and the equal error rates in a
/// table that is the legend.
std::string roc_svg(std::string_view title, std::span<const RocCurve> curves);

}  // namespace pfc
