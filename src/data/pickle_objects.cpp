#include "data/pickle_objects.h"

#include <limits>
#include <string>

#include "pfc/base/error.h"

namespace pfc::pickle {
namespace {

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  Global global;
};

// numpy 2 moved numpy.core to numpy._core; Python 3 renamed __builtin__.
constexpr KnownGlobal kKnownGlobals[] = {
    {"_codecs", "encode", Global::kEncode},
    {"builtins", "bytearray", Global::kByteArray},
    {"__builtin__", "bytearray", Global::kByteArray},
    {"numpy", "ndarray", Global::kNdarray},
    {"numpy", "dtype", Global::kDtype},
    {"numpy.core.multiarray", "_reconstruct", Global::kReconstruct},
    {"numpy._core.multiarray", "_reconstruct", Global::kReconstruct},
    {"numpy.core.numeric", "_frombuffer", Global::kFromBuffer},
    {"numpy._core.numeric", "_frombuffer", Global::kFromBuffer},
    {"numpy.core.multiarray", "scalar", Global::kScalar},
    {"numpy._core.multiarray", "scalar", Global::kScalar},
};

using Items = std::vector<Value>;

std::string_view view(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A text, or the `str` that Python 2 has in its place.
std::optional<std::string_view> as_text(const Value& value) {
  if (const auto* text = std::get_if<Text>(&value)) return view(text->latin1);
  if (const auto* bytes = std::get_if<Bytes>(&value)) return view(*bytes);
  return std::nullopt;
}

const Items& tuple_items(const Value& value, const Document& document) {
  const auto* tuple = std::get_if<Sequence>(&value);
  if (tuple == nullptr || tuple->is_list) {
    throw Error("found " + std::string(kind(value)) + ", want a tuple");
  }
  return document.sequences[tuple->index];
}

Value encode(const Items& arguments) {
  if (arguments.size() == 2 && std::holds_alternative<Text>(arguments[0]) &&
      as_text(arguments[1]) == "latin1") {
    return std::get<Text>(arguments[0]).latin1;
  }
  throw Error("_codecs.encode is allowed with a text and 'latin1' only");
}

Value make_bytearray(const Items& arguments) {
  if (arguments.empty()) return Bytes{};
  if (arguments.size() == 1 && std::holds_alternative<Bytes>(arguments[0])) return arguments[0];
  // Python 2 writes a Latin-1 text.
  if (arguments.size() == 2 && std::holds_alternative<Text>(arguments[0]) &&
      as_text(arguments[1]) == "latin-1") {
    return std::get<Text>(arguments[0]).latin1;
  }
  throw Error("bytearray is allowed with bytes, or a text and 'latin-1', only");
}

Value make_dtype(const Items& arguments) {
  const auto name = arguments.empty() ? std::nullopt : as_text(arguments[0]);
  if (name == "u1") return DType::kUint8;
  if (name == "b1") return DType::kBool;
  throw Error("a numpy type that is neither uint8 nor bool");
}

Value make_scalar(const Items& arguments) {
  const auto* type = arguments.size() == 2 ? std::get_if<DType>(&arguments[0]) : nullptr;
  const auto* data = type != nullptr ? std::get_if<Bytes>(&arguments[1]) : nullptr;
  if (data == nullptr || data->size() != 1) throw Error("a malformed numpy scalar");
  const auto number = std::to_integer<std::int64_t>(data->front());
  if (*type == DType::kBool) return number != 0;
  return number;
}

/// Checks that an array of one-byte items, of the shape given, has as many as there are bytes.
NumpyArray make_array(const Value& shape, const Value& type, const Value& data,
                      const Document& document) {
  const auto* dtype = std::get_if<DType>(&type);
  const auto* bytes = std::get_if<Bytes>(&data);
  if (dtype == nullptr || bytes == nullptr) throw Error("a malformed numpy array");
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

Value add_array(const NumpyArray& array, Document& document) {
  document.arrays.push_back(array);
  return Array{document.arrays.size() - 1};
}

Value from_buffer(const Items& arguments, Document& document) {
  if (arguments.size() != 4) throw Error("a malformed numpy array");
  return add_array(make_array(arguments[2], arguments[1], arguments[0], document), document);
}

}  // namespace

std::optional<Global> find_global(std::string_view module, std::string_view name) {
  for (const KnownGlobal& known : kKnownGlobals) {
    if (known.module == module && known.name == name) return known.global;
  }
  return std::nullopt;
}

Value call(const Value& callable, const Value& arguments, Document& document) {
  const auto* global = std::get_if<Global>(&callable);
  if (global == nullptr) throw Error("a call of " + std::string(kind(callable)));
  const Items& items = tuple_items(arguments, document);
  switch (*global) {
    case Global::kEncode:
      return encode(items);
    case Global::kByteArray:
      return make_bytearray(items);
    case Global::kDtype:
      return make_dtype(items);
    case Global::kScalar:
      return make_scalar(items);
    case Global::kReconstruct:
      return add_array({}, document);  // its type, shape and data come with BUILD
    case Global::kFromBuffer:
      return from_buffer(items, document);
    case Global::kNdarray:
      break;
  }
  throw Error("a call of numpy.ndarray");
}

void set_state(const Value& object, const Value& state, Document& document) {
  if (std::holds_alternative<DType>(object)) return;  // byte order and the like: it has one byte
  const auto* array = std::get_if<Array>(&object);
  if (array == nullptr) throw Error("a state for " + std::string(kind(object)));
  const Items& items = tuple_items(state, document);  // version, shape, type, Fortran order, data
  if (items.size() != 5) throw Error("a malformed state of a numpy array");
  document.arrays[array->index] = make_array(items[1], items[2], items[4], document);
}

}  // namespace pfc::pickle
