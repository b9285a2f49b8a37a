#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/pickle.h"

namespace pfc {

/// A run of numbers of one type, in an entry of its own beside the pickle.
struct TorchStorage {
  std::string_view key;    ///< the entry's name, under data/
  std::string_view dtype;  ///< as safetensors spells it
  std::uint64_t size;      ///< in elements
};

/// Which elements of a storage are a tensor: all within it, and no more than it has.
struct StridedTensor {
  std::size_t storage;  ///< a place in TorchDialect::storages
  std::uint64_t offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  ///< in elements, none of them negative
};

/// What the globals of a state_dict mean: PyTorch's tensors and parameters, and ordered dicts.
class TorchDialect : public pickle::Dialect {
 public:
  const std::vector<TorchStorage>& storages() const { return storages_; }
  /// The tensor that a value is; null where it is none.
  const StridedTensor* as_tensor(const pickle::Value& value) const;

  std::string_view name() const override { return "a PyTorch file of tensors"; }
  std::optional<pickle::Global> find_global(std::string_view module,
                                            std::string_view name) const override;
  pickle::Value call(pickle::Global callable, const pickle::Items& arguments,
                     pickle::Document& document) override;
  void set_state(const pickle::Value& object, const pickle::Value& state,
                 pickle::Document& document) override;
  std::optional<pickle::Value> find_outside(const pickle::Value& id,
                                            const pickle::Document& document) override;

 private:
  pickle::Value add_tensor(const pickle::Items& arguments, const pickle::Document& document);

  std::vector<TorchStorage> storages_;
  std::vector<StridedTensor> tensors_;
};

}  // namespace pfc
