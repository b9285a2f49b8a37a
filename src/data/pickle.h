#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

namespace pfc::pickle {

using Bytes = std::span<const std::byte>;

struct None {};
/// Text of which every character is below 256, one byte each.
struct Text {
  Bytes latin1;
};
/// A list or a tuple: a place in Document::sequences, so that references to it stay references.
struct Sequence {
  std::size_t index;
  bool is_list;
};
/// A place in Document::arrays.
struct Array {
  std::size_t index;
};
/// The numpy types that a set may use, each of one byte.
enum class DType : std::uint8_t { kUint8, kBool };
/// What a pickle may name of Python's modules.
enum class Global : std::uint8_t {
  kEncode,       ///< _codecs.encode: how Python 3 writes bytes in protocols 0 to 2
  kByteArray,    ///< bytearray
  kNdarray,      ///< numpy.ndarray
  kDtype,        ///< numpy.dtype
  kReconstruct,  ///< numpy…multiarray._reconstruct: an array in protocols 0 to 4
  kFromBuffer,   ///< numpy…numeric._frombuffer: an array in protocol 5
  kScalar,       ///< numpy…multiarray.scalar
};

using Value = std::variant<std::monostate, None, bool, std::int64_t, Bytes, Text, Sequence, Array,
                           DType, Global>;

struct NumpyArray {
  DType type = DType::kUint8;
  Bytes data;
};

/// What a pickle holds, as references into the pickle itself where that is possible.
struct Document {
  Value root;
  std::vector<std::vector<Value>> sequences;
  std::vector<NumpyArray> arrays;
  std::vector<std::vector<std::byte>> decoded;  ///< bytes and texts that the pickle spells out
};

/// How errors speak of a value: "a list", "a number".
std::string_view kind(const Value& value);

/// Reads a pickle of protocols 0 to 5 that is made of the values above and nothing else; runs
/// nothing, recurses never, and takes memory in proportion to the size of `bytes`, which must
/// outlive the document. Throws DataError with the offset of the operation it refused.
Document read(std::string_view file, Bytes bytes);

}  // namespace pfc::pickle
