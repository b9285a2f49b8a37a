#include "formats/torch_pickle.h"

#include <algorithm>
#include <iterator>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/formats/tensor_stream.h"

namespace pfc {
namespace {

using pickle::Document;
using pickle::Global;
using pickle::Items;
using pickle::Object;
using pickle::Value;

constexpr std::string_view kTensorKind = "a tensor", kStorageKind = "a storage",
                           kPairsKind =
                               "an OrderedDict";  // its number is that of the sequence of pairs
/// A pickle writes a shape once and many tensors may share it, so each copy must be short.
constexpr std::size_t kMaxDimensions = 64;

enum class Meaning : std::uint8_t { kDict, kTensor, kFirstArgument, kRebuild, kStorage };

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  Meaning meaning;
  std::string_view dtype = {};  ///< of a storage
};

constexpr KnownGlobal kKnownGlobals[] = {
    {"collections", "OrderedDict", Meaning::kDict},
    {"torch._utils", "_rebuild_tensor_v2", Meaning::kTensor},
    {"torch._utils", "_rebuild_tensor", Meaning::kTensor},  // before PyTorch 0.4
    {"torch._utils", "_rebuild_parameter", Meaning::kFirstArgument},
    {"torch._utils", "_rebuild_parameter_with_state", Meaning::kFirstArgument},
    {"torch._tensor", "_rebuild_from_type_v2", Meaning::kRebuild},  // a tensor with attributes
    {"torch.jit._pickle", "restore_type_tag",
     Meaning::kFirstArgument},  // written by torch::pickle_save
    {"torch", "Size", Meaning::kFirstArgument},
    {"torch", "DoubleStorage", Meaning::kStorage, "F64"},
    {"torch", "FloatStorage", Meaning::kStorage, "F32"},
    {"torch", "HalfStorage", Meaning::kStorage, "F16"},
    {"torch", "BFloat16Storage", Meaning::kStorage, "BF16"},
    {"torch", "LongStorage", Meaning::kStorage, "I64"},
    {"torch", "IntStorage", Meaning::kStorage, "I32"},
    {"torch", "ShortStorage", Meaning::kStorage, "I16"},
    {"torch", "CharStorage", Meaning::kStorage, "I8"},
    {"torch", "ByteStorage", Meaning::kStorage, "U8"},
    {"torch", "BoolStorage", Meaning::kStorage, "BOOL"},
};

std::optional<std::size_t> number_of(const Value& value, std::string_view kind) {
  const auto* object = std::get_if<Object>(&value);
  if (object == nullptr || object->kind != kind) return std::nullopt;
  return object->number;
}

std::int64_t count(const Value& value, std::string_view what) {
  const auto* number = std::get_if<std::int64_t>(&value);
  if (number == nullptr) {
    throw Error(std::string(what) + " of a tensor: found " + std::string(kind(value)) +
                ", want a number");
  }
  if (*number < 0) {
    throw Error(std::string(what) + " of a tensor: found " + std::to_string(*number) +
                ", want at least 0");
  }
  return *number;
}

std::vector<std::int64_t> counts(const Value& value, std::string_view what,
                                 const Document& document) {
  const Items& items = tuple_items(value, document);
  if (items.size() > kMaxDimensions) {
    throw Error("a tensor of " + std::to_string(items.size()) + " dimensions, want at most " +
                std::to_string(kMaxDimensions));
  }
  std::vector<std::int64_t> numbers;
  std::ranges::transform(items, std::back_inserter(numbers),
                         [&](const Value& item) { return count(item, what); });
  return numbers;
}

bool lies_within(const StridedTensor& tensor, std::uint64_t size) {
  std::uint64_t last = tensor.offset;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const auto extent = static_cast<std::uint64_t>(tensor.shape[i]);
    if (extent == 0) return tensor.offset <= size;
    std::uint64_t way = 0;
    if (__builtin_mul_overflow(extent - 1, static_cast<std::uint64_t>(tensor.strides[i]), &way) ||
        __builtin_add_overflow(last, way, &last)) {
      return false;
    }
  }
  return last < size;
}

void check_fits(const StridedTensor& tensor, const TorchStorage& storage) {
  if (!lies_within(tensor, storage.size)) {
    throw Error("a tensor of shape " + shape_text(tensor.shape) + " and strides " +
                shape_text(tensor.strides) + " from element " + std::to_string(tensor.offset) +
                " on, in a storage of " + std::to_string(storage.size) + " elements");
  }
  // Strides of 0 repeat elements; with them a small file could describe any amount of data.
  const auto bytes = byte_size(storage.dtype, tensor.shape);
  if (!bytes || *bytes / element_size(storage.dtype) > storage.size) {
    throw Error("a tensor of shape " + shape_text(tensor.shape) +
                " that repeats the elements of a storage of " + std::to_string(storage.size));
  }
}

}  // namespace

const StridedTensor* TorchDialect::as_tensor(const Value& value) const {
  const auto number = number_of(value, kTensorKind);
  return number ? &tensors_[*number] : nullptr;
}

bool TorchDialect::is_ordered_dict(const Value& value) {
  return number_of(value, kPairsKind).has_value();
}

pickle::DictItems TorchDialect::items_of(const Value& value, const Document& document) {
  if (const auto* dict = std::get_if<pickle::Dict>(&value)) return document.dicts[dict->index];
  if (const auto* other = std::get_if<pickle::Unbuilt>(&value)) {
    return document.unbuilt[other->index].items;
  }
  pickle::DictItems items;
  if (const auto pairs = number_of(value, kPairsKind)) {
    for (const Value& pair : document.sequences[*pairs]) {
      const auto* both = std::get_if<pickle::Sequence>(&pair);
      if (both == nullptr || document.sequences[both->index].size() != 2) return {};
      items.emplace_back(document.sequences[both->index][0], document.sequences[both->index][1]);
    }
  }
  return items;
}

std::optional<std::string> TorchDialect::unread_tensor(const Value& value,
                                                       const Document& document) {
  const auto* other = std::get_if<pickle::Unbuilt>(&value);
  if (other == nullptr) return std::nullopt;
  const auto& [module, name, items, state] = document.unbuilt[other->index];
  if (!module.starts_with("torch") ||
      !(name.starts_with("_rebuild") || name.ends_with("Storage"))) {
    return std::nullopt;
  }
  if (name == "_rebuild_qtensor") return "quantised";
  if (name.find("sparse") != name.npos) return "sparse";
  return printable(name);
}

std::optional<Global> TorchDialect::find_global(std::string_view module,
                                                std::string_view name) const {
  const auto* known = std::ranges::find_if(kKnownGlobals, [&](const KnownGlobal& global) {
    return global.module == module && global.name == name;
  });
  if (known == std::end(kKnownGlobals)) return std::nullopt;
  return Global{static_cast<std::size_t>(known - kKnownGlobals)};
}

Value TorchDialect::call(Global callable, const Items& arguments, Document& document) {
  switch (kKnownGlobals[callable.number].meaning) {
    case Meaning::kDict:
      if (arguments.empty()) return add_dict(document);
      if (const auto* pairs = std::get_if<pickle::Sequence>(&arguments.front())) {
        return Object{kPairsKind, pairs->index};  // Python 2 writes it this way
      }
      throw Error("an OrderedDict is allowed with a list of pairs, or empty only");
    case Meaning::kTensor:
      return add_tensor(arguments, document);
    case Meaning::kFirstArgument:
      if (arguments.empty()) throw Error("a call without arguments");
      return arguments.front();
    case Meaning::kRebuild:
      return rebuild(arguments, document);
    case Meaning::kStorage:
      break;
  }
  throw Error("a call of a storage's type");
}

void TorchDialect::set_state(const Value& object, const Value&, Document&) {
  // A state_dict carries the versions of its modules, which do not matter for its tensors.
  if (!std::holds_alternative<pickle::Dict>(object) && !is_ordered_dict(object)) {
    throw Error("a state for " + std::string(kind(object)));
  }
}

std::optional<Value> TorchDialect::find_outside(const Value& id, const Document& document) {
  // 'storage', type, key, location, size. The format before 1.6 may add a part of the storage,
  // which PyTorch has not written since 0.4.
  const Items& items = tuple_items(id, document);
  const bool is_whole =
      items.size() == 5 || (items.size() == 6 && std::holds_alternative<pickle::None>(items[5]));
  const auto key = is_whole ? as_text(items[2]) : std::nullopt;
  const bool is_class = items.size() > 1 && as_text(items[0]) == "module";  // with its source
  if ((key || is_class) && std::holds_alternative<pickle::Unbuilt>(items[1])) return items[1];
  const auto* type = key ? std::get_if<Global>(&items[1]) : nullptr;
  if (type == nullptr || as_text(items[0]) != "storage" ||
      kKnownGlobals[type->number].meaning != Meaning::kStorage) {
    throw Error("a malformed id of a storage");
  }
  const auto size = static_cast<std::uint64_t>(count(items[4], "the storage"));
  storages_.push_back({*key, kKnownGlobals[type->number].dtype, size});
  return Object{kStorageKind, storages_.size() - 1};
}

Value TorchDialect::rebuild(const Items& arguments, Document& document) {
  // A global, the type of the tensor, the arguments of the global, the attributes.
  if (arguments.size() < 3) throw Error("a malformed tensor");
  const auto* inner = std::get_if<Global>(&arguments[0]);
  if (inner == nullptr) return arguments[0];
  const Meaning meaning = kKnownGlobals[inner->number].meaning;
  if (meaning != Meaning::kTensor && meaning != Meaning::kFirstArgument) {
    throw Error("a malformed tensor");
  }
  return call(*inner, tuple_items(arguments[2], document), document);
}

Value TorchDialect::add_tensor(const Items& arguments, const Document& document) {
  // Storage, offset, shape, strides, and data for autograd.
  if (!arguments.empty() && std::holds_alternative<pickle::Unbuilt>(arguments[0])) {
    return arguments[0];  // a storage of an unsupported type
  }
  const auto storage = arguments.size() < 4 ? std::nullopt : number_of(arguments[0], kStorageKind);
  if (!storage) throw Error("a malformed tensor");
  StridedTensor tensor{*storage, static_cast<std::uint64_t>(count(arguments[1], "the offset")),
                       counts(arguments[2], "the shape", document),
                       counts(arguments[3], "the strides", document)};
  if (tensor.shape.size() != tensor.strides.size()) {
    throw Error("a tensor of shape " + shape_text(tensor.shape) + " and strides " +
                shape_text(tensor.strides));
  }
  check_fits(tensor, storages_[*storage]);
  tensors_.push_back(std::move(tensor));
  return Object{kTensorKind, tensors_.size() - 1};
}

}  // namespace pfc
