#include "native/fields.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <variant>
#include <vector>

namespace pfc::python {
namespace {

bool is_number(py::handle value) {
  return PyFloat_Check(value.ptr()) != 0 || PyIndex_Check(value.ptr()) != 0;
}

/// The value if the field accepts it.
template <class T>
std::optional<T> accepted(const Field& field, py::handle value) {
  if constexpr (std::is_same_v<T, bool>) {
    return py::isinstance<py::bool_>(value) ? std::optional(value.cast<bool>()) : std::nullopt;
  } else if constexpr (std::is_arithmetic_v<T>) {
    if (!is_number(value)) return std::nullopt;
    if (std::is_integral_v<T> && PyIndex_Check(value.ptr()) == 0) return std::nullopt;
    const double number = PyFloat_AsDouble(value.ptr());
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    // The largest numbers of 64 bits are no doubles.
    if (!field.range.holds(number) || (std::is_integral_v<T> && std::abs(number) >= 0x1p63))
      return std::nullopt;
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(
          py::int_(py::reinterpret_borrow<py::object>(value)).cast<std::int64_t>());
    return static_cast<T>(number);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!py::isinstance<py::str>(value)) return std::nullopt;
    auto text = value.cast<std::string>();
    const auto& choices = field.choices;
    if (!choices.empty() && std::ranges::find(choices, text) == choices.end()) return std::nullopt;
    return text;
  } else {
    std::vector<std::string> texts;
    for (const py::handle each : value) {
      auto text = accepted<std::string>(field, each);
      if (!text) return std::nullopt;
      texts.push_back(std::move(*text));
    }
    return texts;
  }
}

}  // namespace

void set(const Field& field, const std::string& name, py::handle value) {
  const auto take = [&]<class Slot>(const Slot& slot) {
    if constexpr (std::is_same_v<Slot, EnumSlot>) {
      const auto text = accepted<std::string>(field, value);
      if (text) slot.set(slot.value, *text);
      return text.has_value();
    } else if constexpr (std::is_same_v<Slot, NamedValues*> ||
                         std::is_same_v<Slot, std::vector<std::int64_t>*> ||
                         std::is_same_v<Slot, StepwiseNumber*>) {
      throw std::logic_error(field.key + " is a key of a kind that Python does not set");
      return false;
    } else {
      auto found = accepted<std::remove_pointer_t<Slot>>(field, value);
      if (found) *slot = std::move(*found);
      return found.has_value();
    }
  };
  if (!std::visit(take, field.slot)) {
    throw std::invalid_argument(name + " is " + std::string(py::repr(value)) + ", want " +
                                wanted(field));
  }
}

}  // namespace pfc::python
