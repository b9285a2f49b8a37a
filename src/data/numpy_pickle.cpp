#include "data/numpy_pickle.h"

#include <limits>
#include <string>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using pickle::as_text;
using pickle::Bytes;
using pickle::Document;
using pickle::Global;
using pickle::Items;
using pickle::Object;
using pickle::Text;
using pickle::tuple_items;
using pickle::Value;
using DType = NumpyDialect::DType;

constexpr std::string_view kArray = "a numpy array", kType = "a numpy type";

enum class Name : std::uint8_t {
  kEncode,       ///< _codecs.encode: how Python 3 writes bytes in protocols 0 to 2
  kByteArray,    ///< bytearray
  kNdarray,      ///< numpy.ndarray
  kDtype,        ///< numpy.dtype
  kReconstruct,  ///< numpy…multiarray._reconstruct: an array in protocols 0 to 4
  kFromBuffer,   ///< numpy…numeric._frombuffer: an array in protocol 5
  kScalar,       ///< numpy…multiarray.scalar
};

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  Name meaning;
};

// numpy 2 moved numpy.core to numpy._core; Python 3 renamed __builtin__.
constexpr KnownGlobal kKnownGlobals[] = {
    {"_codecs", "encode", Name::kEncode},
    {"builtins", "bytearray", Name::kByteArray},
    {"__builtin__", "bytearray", Name::kByteArray},
    {"numpy", "ndarray", Name::kNdarray},
    {"numpy", "dtype", Name::kDtype},
    {"numpy.core.multiarray", "_reconstruct", Name::kReconstruct},
    {"numpy._core.multiarray", "_reconstruct", Name::kReconstruct},
    {"numpy.core.numeric", "_frombuffer", Name::kFromBuffer},
    {"numpy._core.numeric", "_frombuffer", Name::kFromBuffer},
    {"numpy.core.multiarray", "scalar", Name::kScalar},
    {"numpy._core.multiarray", "scalar", Name::kScalar},
};

/// The characters of a text as bytes, where they are below 256.
Bytes latin1(const Value& value) {
  const auto& text = std::get<Text>(value);
  if (!text.is_latin1) throw Error("text that is malformed or has characters beyond Latin-1");
  return text.bytes;
}

std::optional<DType> as_type(const Value& value) {
  const auto* object = std::get_if<Object>(&value);
  if (object == nullptr || object->kind != kType) return std::nullopt;
  return static_cast<DType>(object->number);
}

Value type_value(DType type) {
  return Object{kType, static_cast<std::size_t>(type)};
}

Value encode(const Items& arguments) {
  if (arguments.size() == 2 && std::holds_alternative<Text>(arguments[0]) &&
      as_text(arguments[1]) == "latin1") {
    return latin1(arguments[0]);
  }
  throw Error("_codecs.encode is allowed with a text and 'latin1' only");
}

Value make_bytearray(const Items& arguments) {
  if (arguments.empty()) return Bytes{};
  if (arguments.size() == 1 && std::holds_alternative<Bytes>(arguments[0])) return arguments[0];
  // Python 2 writes a Latin-1 text.
  if (arguments.size() == 2 && std::holds_alternative<Text>(arguments[0]) &&
      as_text(arguments[1]) == "latin-1") {
    return latin1(arguments[0]);
  }
  throw Error("bytearray is allowed with bytes, or a text and 'latin-1', only");
}

Value make_dtype(const Items& arguments) {
  const auto name = arguments.empty() ? std::nullopt : as_text(arguments[0]);
  if (name == "u1") return type_value(DType::kUint8);
  if (name == "b1") return type_value(DType::kBool);
  throw Error("a numpy type that is neither uint8 nor bool");
}

Value make_scalar(const Items& arguments) {
  const auto type = arguments.size() == 2 ? as_type(arguments[0]) : std::nullopt;
  const auto* data = type ? std::get_if<Bytes>(&arguments[1]) : nullptr;
  if (data == nullptr || data->size() != 1) throw Error("a malformed numpy scalar");
  const auto number = std::to_integer<std::int64_t>(data->front());
  if (*type == DType::kBool) return number != 0;
  return number;
}

/// Checks that an array of one-byte items, of the shape given, has as many as there are bytes.
NumpyDialect::Array make_array(const Value& shape, const Value& type, const Value& data,
                               const Document& document) {
  const auto dtype = as_type(type);
  const auto* bytes = std::get_if<Bytes>(&data);
  if (!dtype || bytes == nullptr) throw Error("a malformed numpy array");
  std::uint64_t size = 1;
  for (const Value& dimension : tuple_items(shape, document)) {
    const auto* extent = std::get_if<std::int64_t>(&dimension);
    if (extent == nullptr || *extent < 0) throw Error("a malformed shape of a numpy array");
    const auto factor = static_cast<std::uint64_t>(*extent);
    if (factor != 0 && size > std::numeric_limits<std::uint64_t>::max() / factor) {
      throw Error("a numpy array of more than 2^64 bytes");
    }
    size *= factor;
  }
  if (size != bytes->size()) {
    throw Error("a numpy array of " + std::to_string(size) + " bytes by its shape, but of " +
                std::to_string(bytes->size()) + " by its data");
  }
  return {*dtype, *bytes};
}

}  // namespace

const NumpyDialect::Array* NumpyDialect::as_array(const Value& value) const {
  const auto* object = std::get_if<Object>(&value);
  return object != nullptr && object->kind == kArray ? &arrays_[object->number] : nullptr;
}

std::optional<Global> NumpyDialect::find_global(std::string_view module,
                                                std::string_view name) const {
  for (const KnownGlobal& known : kKnownGlobals) {
    if (known.module == module && known.name == name) {
      return Global{static_cast<std::size_t>(known.meaning)};
    }
  }
  return std::nullopt;
}

Value NumpyDialect::call(Global callable, const Items& arguments, Document& document) {
  switch (static_cast<Name>(callable.number)) {
    case Name::kEncode:
      return encode(arguments);
    case Name::kByteArray:
      return make_bytearray(arguments);
    case Name::kDtype:
      return make_dtype(arguments);
    case Name::kScalar:
      return make_scalar(arguments);
    case Name::kReconstruct:
      return add_array({});  // its type, shape and data come with BUILD
    case Name::kFromBuffer:
      if (arguments.size() != 4) throw Error("a malformed numpy array");
      return add_array(make_array(arguments[2], arguments[1], arguments[0], document));
    case Name::kNdarray:
      break;
  }
  throw Error("a call of numpy.ndarray");
}

void NumpyDialect::set_state(const Value& object, const Value& state, Document& document) {
  if (as_type(object)) return;  // byte order and the like: it has one byte
  if (as_array(object) == nullptr) throw Error("a state for " + std::string(kind(object)));
  const Items& items = tuple_items(state, document);  // version, shape, type, Fortran order, data
  if (items.size() != 5) throw Error("a malformed state of a numpy array");
  arrays_[std::get<Object>(object).number] = make_array(items[1], items[2], items[4], document);
}

Value NumpyDialect::add_array(const Array& array) {
  arrays_.push_back(array);
  return Object{kArray, arrays_.size() - 1};
}

}  // namespace pfc
