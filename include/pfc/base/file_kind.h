#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace pfc {

/// The formats of outside files that are read here, and all others.
enum class FileFormat : std::uint8_t {
  kUnknown,
  kOther,
  kText,
  kPickle,
  kTorch,     ///< of torch.save, or TorchScript
  kOldTorch,  ///< of torch.save before 1.6
  kSafetensors,
  kOnnx,
  kNpy,
  kRecords,  ///< RecordIO, a .rec
  kImage,
};

/// What a file is.
struct FileKind {
  FileFormat format = FileFormat::kUnknown;
  std::string words;   ///< "an HTML page"; for unknown bytes the first of them
  std::string advice;  ///< what to do where it is none that is read; often empty
};

/// Recognises a file by its bytes, of which the first 4,096 and the last one count.
FileKind recognise_file(std::span<const std::byte> bytes);

/// Throws DataError: the file is of another kind than `wanted`, with what it is and what to do.
[[noreturn]] void refuse_kind(std::string_view file, std::span<const std::byte> bytes,
                              std::string_view wanted);

/// Throws so where bytes that should be text are of another kind that is known; an empty file and
/// unknown bytes are left to who reads them.
void require_text(std::string_view file, std::span<const std::byte> bytes, std::string_view wanted);

}  // namespace pfc
