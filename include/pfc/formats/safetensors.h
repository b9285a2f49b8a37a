#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/checksum.h"
#include "pfc/base/files.h"
#include "pfc/formats/tensor_stream.h"

namespace pfc {

/// A tensor of a `.safetensors` file: row-major, little-endian.
struct TensorView {
  std::string name;
  std::string dtype;  ///< as the format spells it: F32, F64, BF16, I64, …
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  ///< borrowed
};

/// The same tensor; its bytes stay where they lie and must outlive it.
TensorStream as_stream(const TensorView& tensor);

using Metadata = std::map<std::string, std::string>;

/// What a `.safetensors` file says: u64 length of the header, the header in JSON, the tensors'
/// bytes.
struct SafetensorsContent {
  std::vector<TensorView> tensors;  ///< in the order of their bytes
  Metadata metadata;
};

/// Reads `file`, whose name in messages is `name`. The views borrow from `file`. Throws DataError
/// where the header is no such JSON, a dtype is unknown, a shape and its range of bytes disagree,
/// ranges overlap or leave a gap, or a name comes twice.
SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view name);

/// A `.safetensors` file, mapped into memory: tensors are read when they are used.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<TensorView>& tensors() const { return content_.tensors; }
  const Metadata& metadata() const { return content_.metadata; }
  /// Throws DataError where the metadata lack `key`.
  const std::string& metadata(const std::string& key) const;
  /// The same as an integer; throws DataError where it is none.
  std::int64_t integer(const std::string& key) const;
  /// The same as a finite number.
  double real(const std::string& key) const;
  /// Throws DataError where there is none of this name.
  const TensorView& tensor(std::string_view name) const;
  /// Where the tensor's bytes begin in the file.
  std::uint64_t offset_of(const TensorView& tensor) const;

 private:
  MappedFile file_;
  SafetensorsContent content_;
};

/// Writes `tensors`, the wider types first so that each is aligned to its type. The file appears
/// whole or not at all; returned is what it holds.
Checksums write_safetensors(const std::filesystem::path& path, std::vector<TensorStream> tensors,
                            const Metadata& metadata);
/// The same, straight from where the bytes lie.
Checksums write_safetensors(const std::filesystem::path& path,
                            const std::vector<TensorView>& tensors, const Metadata& metadata);

}  // namespace pfc
