#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/pickle.h"

namespace pfc {

/// A run of numbers of one type, which lies beside the pickle.
struct TorchStorage {
  std::string_view key;    ///< an archive's entry data/KEY, or its name among those that follow
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

/// What the globals of a state_dict mean: PyTorch's tensors and parameters, and ordered dicts. All
/// others are passed over.
class TorchDialect : public pickle::Dialect {
 public:
  const std::vector<TorchStorage>& storages() const { return storages_; }
  /// The tensor that a value is; null where it is none.
  const StridedTensor* as_tensor(const pickle::Value& value) const;
  /// Whether an object of this dialect is an ordered dict.
  static bool is_ordered_dict(const pickle::Value& value);
  /// What a dict holds, or an object that is not built but was filled as one; nothing where the
  /// value is neither.
  static pickle::DictItems items_of(const pickle::Value& value, const pickle::Document& document);
  /// Why a value that would be a tensor is not read ("quantised"); nothing for all others.
  static std::optional<std::string> unread_tensor(const pickle::Value& value,
                                                  const pickle::Document& document);

  std::string_view name() const override { return "a PyTorch file of tensors"; }
  std::optional<pickle::Global> find_global(std::string_view module,
                                            std::string_view name) const override;
  bool passes_over_others() const override { return true; }
  pickle::Value call(pickle::Global callable, const pickle::Items& arguments,
                     pickle::Document& document) override;
  void set_state(const pickle::Value& object, const pickle::Value& state,
                 pickle::Document& document) override;
  std::optional<pickle::Value> find_outside(const pickle::Value& id,
                                            const pickle::Document& document) override;

 private:
  pickle::Value add_tensor(const pickle::Items& arguments, const pickle::Document& document);
  pickle::Value rebuild(const pickle::Items& arguments, pickle::Document& document);

  std::vector<TorchStorage> storages_;
  std::vector<StridedTensor> tensors_;
};

}  // namespace pfc
