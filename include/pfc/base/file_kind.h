#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pfc {

/// The formats of outside files that the project reads, and two values for all other files.
enum class FileFormat : std::uint8_t {
  kUnknown,
  kOther,
  kText,
  kPickle,
  kTorch,     ///< written by torch.save, or TorchScript
  kOldTorch,  ///< written by torch.save before PyTorch 1.6
  kSafetensors,
  kOnnx,
  kNpy,
  kRecords,  ///< RecordIO, a .rec
  kImage,
};

/// What kind of file this is.
struct FileKind {
  FileFormat format = FileFormat::kUnknown;
  std::string words;   ///< "an HTML page"; for unknown bytes, the first of them
  std::string advice;  ///< what to do if the project does not read this kind; often empty
};

/// Recognises a file by its bytes. It looks at the first 4,096 and at the last one.
FileKind recognise_file(std::span<const std::byte> bytes);

/// Throws DataError: the file is not of the kind `wanted`. The sentence says what it is and what to
/// do.
[[noreturn]] void refuse_kind(std::string_view file, std::span<const std::byte> bytes,
                              std::string_view wanted);

/// Throws the same error if bytes that should be text are of another known kind. An empty file and
/// unknown bytes pass; the reader decides about them.
void require_text(std::string_view file, std::span<const std::byte> bytes, std::string_view wanted);

}  // namespace pfc
