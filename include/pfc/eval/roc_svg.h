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

/// TAR over FAR. The FAR axis is logarithmic, from one impostor pair to 1; the operating points at
/// FAR 1e-4 … 1e-1 are marked. `curves` must not be empty.
Chart roc_chart(std::string_view title, std::span<const RocCurve> curves);
/// The same as a self-contained SVG. The legend is a table with the figures at those points and the
/// equal error rates.
std::string roc_svg(std::string_view title, std::span<const RocCurve> curves);

}  // namespace pfc
