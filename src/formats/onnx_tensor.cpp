#include "formats/onnx_tensor.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>

#include "formats/float16.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using Proto = onnx::TensorProto;

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

std::string type_text(int type) {
  return Proto::DataType_IsValid(type) ? Proto::DataType_Name(static_cast<Proto::DataType>(type))
                                       : "type " + std::to_string(type);
}

/// `raw` as numbers of type T; nothing if it has another size.
template <class T, class Value>
std::optional<std::vector<double>> from_bytes(std::string_view raw, std::int64_t count,
                                              Value value) {
  if (raw.size() % sizeof(T) != 0 || std::cmp_not_equal(raw.size() / sizeof(T), count))
    return std::nullopt;
  std::vector<double> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T one;
    std::memcpy(&one, raw.data() + i * sizeof(T), sizeof(T));
    values[i] = value(one);
  }
  return values;
}

/// A field of numbers in the message; nothing if it has another size.
template <class Field, class Value>
std::optional<std::vector<double>> from_field(const Field& field, std::int64_t count, Value value) {
  if (field.size() != count) return std::nullopt;
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(count));
  for (const auto one : field) values.push_back(value(one));
  return values;
}

std::optional<std::vector<double>> values_of(const Proto& tensor,
                                             std::optional<std::string_view> bytes,
                                             std::int64_t count) {
  const auto same = [](auto number) { return static_cast<double>(number); };
  const auto half = [&](double (*value)(std::uint16_t)) {
    const auto of_field = [&](auto bits) { return value(static_cast<std::uint16_t>(bits)); };
    return bytes ? from_bytes<std::uint16_t>(*bytes, count, value)
                 : from_field(tensor.int32_data(), count, of_field);
  };
  switch (tensor.data_type()) {
    case Proto::FLOAT:
      return bytes ? from_bytes<float>(*bytes, count, same)
                   : from_field(tensor.float_data(), count, same);
    case Proto::DOUBLE:
      return bytes ? from_bytes<double>(*bytes, count, same)
                   : from_field(tensor.double_data(), count, same);
    case Proto::FLOAT16:
      return half(from_float16);
    case Proto::BFLOAT16:
      return half(from_bfloat16);
    case Proto::INT32:
      return bytes ? from_bytes<std::int32_t>(*bytes, count, same)
                   : from_field(tensor.int32_data(), count, same);
    case Proto::INT64:
      return bytes ? from_bytes<std::int64_t>(*bytes, count, same)
                   : from_field(tensor.int64_data(), count, same);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view OnnxTensors::beside(const Proto& tensor, const std::string& place) {
  std::string name;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
  for (const auto& entry : tensor.external_data()) {
    const std::string& text = entry.value();
    std::uint64_t number = 0;
    if (entry.key() == "location") name = text;
    if (entry.key() != "offset" && entry.key() != "length") continue;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size())
      throw DataError(file_, place, entry.key() + " '" + printable(text) + "', want a number");
    (entry.key() == "offset" ? offset : length.emplace()) = number;
  }
  if (folder_.empty())
    throw DataError(file_, place, "its numbers are in another file, '" + printable(name) + "'");
  // A file from outside must not say which other files of the machine are read.
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos ||
      name.find('\0') != name.npos) {
    throw DataError(file_, place,
                    "its numbers are in '" + printable(name) + "', want a file of the same folder");
  }
  auto found = beside_.find(name);
  if (found == beside_.end()) found = beside_.emplace(name, MappedFile(folder_ / name)).first;
  const auto bytes = found->second.bytes();
  if (offset > bytes.size() || length.value_or(0) > bytes.size() - offset) {
    throw DataError(file_, place,
                    "its numbers are at offset " + std::to_string(offset) + " of " +
                        printable(name) + ", which has " + counted(std::ssize(bytes), "byte"));
  }
  const auto part = bytes.subspan(offset, length.value_or(bytes.size() - offset));
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

OnnxGraph::Constant OnnxTensors::take(Proto& tensor, const std::string& name) {
  const std::string place = "constant '" + printable(name) + "'";
  OnnxGraph::Constant constant{{tensor.dims().begin(), tensor.dims().end()}, {}};
  std::int64_t count = 1;
  for (const std::int64_t extent : constant.shape) {
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count))
      throw DataError(file_, place, "want extents of at least 0 and fewer than 2^63 values");
  }
  std::optional<std::string_view> bytes;
  if (tensor.data_location() == Proto::EXTERNAL) {
    bytes = beside(tensor, place);
  } else if (tensor.has_raw_data()) {
    bytes = tensor.raw_data();
  }
  auto values = values_of(tensor, bytes, count);
  if (!values) {
    throw DataError(file_, place,
                    "it does not have its " + counted(count, "value") + " of " +
                        type_text(tensor.data_type()) +
                        "; want them as floating-point or whole numbers, all of them");
  }
  constant.values = *std::move(values);
  taken_ += count;
  // A network's numbers need not be in memory twice.
  onnx::TensorProto().Swap(&tensor);
  return constant;
}

}  // namespace pfc
