#include "pfc/head/margin.h"

#include "head/kernels/formulas.h"

namespace pfc {

MarginValue Margin::operator()(double cosine) const {
  return kernels::formulas::with_margin(terms_, cosine);
}

}  // namespace pfc
