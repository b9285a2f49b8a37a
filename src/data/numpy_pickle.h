#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/pickle.h"

namespace pfc {

/// The few globals that a verification set may name: bytes as Python 3 writes them in protocols 0
/// to 2, and numpy's arrays and scalars of numbers, flags and objects.
class NumpyDialect : public pickle::Dialect {
 public:
  struct DType {
    char kind = 'u';       ///< b bool, i and u whole numbers, f real ones, O objects
    std::size_t size = 1;  ///< bytes of an item
  };

  struct Array {
    DType type;
    std::size_t items = 0, dimensions = 1;
    pickle::Bytes data;                       ///< for numbers and flags
    std::optional<pickle::Sequence> objects;  ///< for objects
  };

  /// The array behind a value; null if it is not an array.
  const Array* as_array(const pickle::Value& value) const;
  /// An item of an array that holds no objects.
  static double number(const Array& array, std::size_t i);

  std::string_view name() const override { return "a verification set"; }
  std::optional<pickle::Global> find_global(std::string_view module,
                                            std::string_view name) const override;
  pickle::Value call(pickle::Global callable, const pickle::Items& arguments,
                     pickle::Document& document) override;
  void set_state(const pickle::Value& object, const pickle::Value& state,
                 pickle::Document& document) override;

 private:
  pickle::Value add_array(const Array& array);

  std::vector<Array> arrays_;
};

}  // namespace pfc
