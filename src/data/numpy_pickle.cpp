#include "data/numpy_pickle.h"

#include <iterator>
#include <limits>
#include <string>

#include "base/little_endian.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using pickle::as_text;
using pickle::Bytes;
using pickle::Document;
using pickle::Global;
using pickle::Items;
using pickle::Object;
using pickle::Sequence;
using pickle::Text;
using pickle::tuple_items;
using pickle::Value;
using DType = NumpyDialect::DType;

struct KnownType {
  std::string_view name;
  DType type;
};

constexpr KnownType kTypes[] = {
    {"u1", {'u', 1}}, {"u2", {'u', 2}}, {"u4", {'u', 4}}, {"u8", {'u', 8}}, {"i1", {'i', 1}},
    {"i2", {'i', 2}}, {"i4", {'i', 4}}, {"i8", {'i', 8}}, {"f4", {'f', 4}}, {"f8", {'f', 8}},
    {"b1", {'b', 1}}, {"O8", {'O', 8}}, {"O4", {'O', 4}}, {"O", {'O', 8}},
};

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

/// The characters of a text as bytes, if they are all below 256.
Bytes latin1(const Value& value) {
  const auto& text = std::get<Text>(value);
  if (!text.is_latin1) throw Error("text that is malformed or has characters beyond Latin-1");
  return text.bytes;
}

std::optional<DType> as_type(const Value& value) {
  const auto* object = std::get_if<Object>(&value);
  if (object == nullptr || object->kind != kType) return std::nullopt;
  return kTypes[object->number].type;
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
  for (std::size_t i = 0; i < std::size(kTypes); ++i)
    if (name == kTypes[i].name) return Object{kType, i};
  throw Error("a numpy type that is neither of numbers nor bool nor object");
}

/// The state of a type: version, byte order, and what types with fields have.
void check_byte_order(const Value& state, const Document& document) {
  const Items& items = tuple_items(state, document);
  if (items.size() > 1 && as_text(items[1]) == ">")
    throw Error("a numpy type whose bytes lie in big-endian order");
}

template <class T>
double number_as(pickle::Bytes data, std::size_t i) {
  return static_cast<double>(load<T>(data, i * sizeof(T)));
}

Value make_scalar(const Items& arguments) {
  const auto type = arguments.size() == 2 ? as_type(arguments[0]) : std::nullopt;
  const auto* data = type ? std::get_if<Bytes>(&arguments[1]) : nullptr;
  if (data == nullptr || type->kind == 'O' || data->size() != type->size)
    throw Error("a malformed numpy scalar");
  const double number =
      NumpyDialect::number({.type = *type, .items = 1, .data = *data, .objects = {}}, 0);
  if (type->kind == 'b') return number != 0;
  return number;
}

/// Checks that an array of the given shape has the right number of items.
NumpyDialect::Array make_array(const Value& shape, const Value& type, const Value& data,
                               const Document& document) {
  const auto dtype = as_type(type);
  const auto* bytes = std::get_if<Bytes>(&data);
  const auto* list = std::get_if<Sequence>(&data);
  const bool holds_objects = dtype && dtype->kind == 'O';
  if (!dtype || (holds_objects ? list == nullptr : bytes == nullptr))
    throw Error("a malformed numpy array");
  const Items& extents = tuple_items(shape, document);
  std::uint64_t size = holds_objects ? 1 : dtype->size;
  for (const Value& dimension : extents) {
    const auto* extent = std::get_if<std::int64_t>(&dimension);
    if (extent == nullptr || *extent < 0) throw Error("a malformed shape of a numpy array");
    const auto factor = static_cast<std::uint64_t>(*extent);
    if (factor != 0 && size > std::numeric_limits<std::uint64_t>::max() / factor) {
      throw Error("a numpy array of more than 2^64 bytes");
    }
    size *= factor;
  }
  const std::uint64_t found =
      holds_objects ? document.sequences[list->index].size() : bytes->size();
  if (size != found) {
    const std::string unit = holds_objects ? " objects" : " bytes";
    throw Error("a numpy array of " + std::to_string(size) + unit + " by its shape, but of " +
                std::to_string(found) + " by its data");
  }
  NumpyDialect::Array array{
      .type = *dtype, .dimensions = extents.size(), .data = {}, .objects = {}};
  array.items = holds_objects ? size : size / dtype->size;
  if (holds_objects) {
    array.objects = *list;
  } else {
    array.data = *bytes;
  }
  return array;
}

}  // namespace

const NumpyDialect::Array* NumpyDialect::as_array(const Value& value) const {
  const auto* object = std::get_if<Object>(&value);
  return object != nullptr && object->kind == kArray ? &arrays_[object->number] : nullptr;
}

double NumpyDialect::number(const Array& array, std::size_t i) {
  switch (array.type.kind << 4 | static_cast<int>(array.type.size)) {
    case 'i' << 4 | 1:
      return number_as<std::int8_t>(array.data, i);
    case 'i' << 4 | 2:
      return number_as<std::int16_t>(array.data, i);
    case 'i' << 4 | 4:
      return number_as<std::int32_t>(array.data, i);
    case 'i' << 4 | 8:
      return number_as<std::int64_t>(array.data, i);
    case 'u' << 4 | 2:
      return number_as<std::uint16_t>(array.data, i);
    case 'u' << 4 | 4:
      return number_as<std::uint32_t>(array.data, i);
    case 'u' << 4 | 8:
      return number_as<std::uint64_t>(array.data, i);
    case 'f' << 4 | 4:
      return number_as<float>(array.data, i);
    case 'f' << 4 | 8:
      return number_as<double>(array.data, i);
    default:  // uint8 and bool
      return number_as<std::uint8_t>(array.data, i);
  }
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
  if (as_type(object)) return check_byte_order(state, document);
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
