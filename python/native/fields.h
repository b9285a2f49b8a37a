#pragma once

#include <torch/csrc/utils/pybind.h>

#include <string>

#include "pfc/base/field.h"

namespace pfc::python {

/// Sets a field to a value of Python's. Throws std::invalid_argument, which calls the field `name`,
/// if it does not accept the value.
void set(const Field& field, const std::string& name, py::handle value);

}  // namespace pfc::python
