#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/pickle.h"

namespace pfc {

/// What the few globals of a verification set mean: bytes as Python 3 writes them in protocols 0 to
/// 2, and numpy's arrays and scalars of one-byte types.
class NumpyDialect : public pickle::Dialect {
 public:
  enum class DType : std::uint8_t { kUint8, kBool };

  struct Array {
    DType type = DType::kUint8;
    pickle::Bytes data;
  };

  /// The array that a value is; null where it is none.
  const Array* as_array(const pickle::Value& value) const;

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
