#pragma once

#include <torch/csrc/utils/pybind.h>

#include "pfc/head/loss.h"

namespace pfc::python {

/// A list of all losses, each a dict: "name", "formula" and "fields", a list of dicts with "name",
/// "default" (a number or a string), "choices" (of a string) and "meaning".
py::list list_losses();

/// The loss of that name with these fields. Throws std::invalid_argument where there is no such
/// loss or field, or where a value is out of range.
Loss make_loss(const std::string& name, const py::dict& fields);

}  // namespace pfc::python
