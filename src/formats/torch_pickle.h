#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/pickle.h"

namespace pfc {

/// A run of numbers of one type, stored beside the pickle.
struct TorchStorage {
  std::string_view
      key;  ///< an archive's entry data/KEY, or the name of a storage behind the pickles
  std::string_view dtype;  ///< as safetensors spells it
  std::uint64_t size;      ///< in elements
};

/// Says which elements of a storage form a tensor. All lie within the storage, and the tensor has
/// no more elements than it.
struct StridedTensor {
  std::size_t storage;  ///< a place in TorchDialect::storages
  std::uint64_t offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  ///< in elements; none is negative
};

/// The meaning of the globals in a state_dict: PyTorch's tensors and parameters, and ordered dicts.
/// All others are skipped.
class TorchDialect : public pickle::Dialect {
 public:
  const std::vector<TorchStorage>& storages() const { return storages_; }
  /// The tensor behind a value; null if it is not a tensor.
  const StridedTensor* as_tensor(const pickle::Value& value) const;
  /// Whether an object of this dialect is an ordered dict.
  static bool is_ordered_dict(const pickle::Value& value);
  /// The items of a dict, or of an unbuilt object that was filled like one; nothing for other
  /// values.
  static pickle::DictItems items_of(const pickle::Value& value, const pickle::Document& document);
  /// Why a value that should be a tensor is not read ("quantised"); nothing for all other values.
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
