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
  std::span<const std::byte> bytes;  ///< borrowed from the file
};

/// The same tensor as a stream. The bytes are not copied and must outlive it.
TensorStream as_stream(const TensorView& tensor);

using Metadata = std::map<std::string, std::string>;

/// The content of a `.safetensors` file: the header's length as u64, the header in JSON, the
/// tensors' bytes.
struct SafetensorsContent {
  std::vector<TensorView> tensors;  ///< in the order of their bytes
  Metadata metadata;
};

/// Parses `file`; `name` stands for it in messages. The views borrow from `file`. Throws DataError
/// if the header is not such JSON, a dtype is unknown, a shape disagrees with its range of bytes,
/// ranges overlap or leave a gap, or a name comes twice.
SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view name);

/// A `.safetensors` file, mapped into memory: a tensor is read only when it is used.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<TensorView>& tensors() const { return content_.tensors; }
  const Metadata& metadata() const { return content_.metadata; }
  /// Throws DataError if the metadata have no `key`.
  const std::string& metadata(const std::string& key) const;
  /// The same as an integer. Throws DataError if it is not one.
  std::int64_t integer(const std::string& key) const;
  /// The same as a number. Throws DataError if it is not a finite number.
  double real(const std::string& key) const;
  /// Throws DataError if there is no tensor of this name.
  const TensorView& tensor(std::string_view name) const;
  /// Where the tensor's bytes begin in the file.
  std::uint64_t offset_of(const TensorView& tensor) const;

 private:
  MappedFile file_;
  SafetensorsContent content_;
};

/// Writes `tensors`, wider types first, so that each is aligned to its type. The file appears whole
/// or not at all. Returns the checksums of the file.
Checksums write_safetensors(const std::filesystem::path& path, std::vector<TensorStream> tensors,
                            const Metadata& metadata);
/// The same for tensors in memory, without a copy.
Checksums write_safetensors(const std::filesystem::path& path,
                            const std::vector<TensorView>& tensors, const Metadata& metadata);

}  // namespace pfc
