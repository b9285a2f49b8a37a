#pragma once

#include <cstddef>  // for std::byte
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pfc/formats/tensor_stream.h"

namespace pfc {

/// A dict of tensors within a file.
struct TorchDict {
  std::string path;  ///< the keys that lead to it, "model.net"; empty for the file's own dict
  std::vector<TensorStream> tensors;  ///< named by their keys, in their order
  std::vector<std::string> unread;    ///< tensors of unsupported kinds: "fc.weight: quantised"
};

/// A file written by `torch.save`: a zip archive of a pickle and of the tensors' numbers, or before
/// PyTorch 1.6 pickles with the numbers behind them. Only tensors are built from it, and nothing in
/// it is run. Numbers are read when they are asked for, so a file may be larger than memory.
///
/// The file holds a dict of tensors and of other dicts, or one tensor, or a module, whose
/// parameters and buffers are taken as its state_dict. Other values beside them (numbers, texts,
/// lists, an optimizer's state, objects of any class) are skipped. Types are float32, float64,
/// float16, bfloat16, int64, int32, int16, int8, uint8 and bool; strides may be any that do not
/// repeat elements.
class TorchFile {
 public:
  /// Throws DataError if the file is damaged, if it has compressed entries (torch.save writes
  /// none), or if a storage has another size than its tensors say. Throws DataError also for a file
  /// of another kind: it says what the file is and, for a TorchScript program, how to convert it.
  static TorchFile open(const std::filesystem::path& path);
  /// The same for a file in memory, which must outlive everything made from it; `name` stands for
  /// it in errors.
  static TorchFile parse(std::string_view name, std::span<const std::byte> bytes);

  /// The keys of the dict that the file holds; empty if it holds something else.
  std::vector<std::string> keys() const;
  /// What the file holds, in words: "the keys 'epoch' 'net'", "an object of argparse.Namespace".
  std::string describe() const;
  /// The tensor, without a name, if the file holds a single one.
  std::optional<TensorStream> tensor() const;
  /// All dicts that hold tensors, outer ones first. They may outlive this object. Throws DataError
  /// if a key comes twice.
  std::vector<TorchDict> dicts() const;
  /// The tensors of the dict that the file holds.
  std::vector<TensorStream> tensors() const;
  /// The tensors of the dict under `key`; empty if there is no such dict.
  std::vector<TensorStream> tensors(std::string_view key) const;

 private:
  struct Content;
  class Walk;

  explicit TorchFile(std::shared_ptr<const Content> content) : content_(std::move(content)) {}

  std::shared_ptr<const Content> content_;
};

}  // namespace pfc
