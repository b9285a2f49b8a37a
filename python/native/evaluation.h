#pragma once

#include <torch/csrc/utils/pybind.h>

namespace pfc::python {

/// Binds verification sets and the protocols, each a function that embeds, evaluates and writes the
/// reports.
void bind_evaluation(py::module_& module);

}  // namespace pfc::python
