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
  std::vector<std::string> unread;  ///< tensors of kinds that are not read: "fc.weight: quantised"
};

/// A file of `torch.save`: a zip archive of a pickle and of the numbers of its tensors, or of
/// before PyTorch 1.6 pickles with the numbers behind them. Tensors are all that is built from it,
/// and nothing in it is run. Numbers are read when they are asked for, so a file may be larger than
/// memory.
///
/// What the file holds is a dict of tensors and of other dicts, or one tensor, or a module whose
/// state_dict its parameters and buffers are. Other values beside them (numbers, texts, lists, an
/// optimizer's state, objects of any class) are passed over. Types are float32, float64, float16,
/// bfloat16, int64, int32, int16, int8, uint8 and bool; any strides that do not repeat elements.
class TorchFile {
 public:
  /// Throws DataError where the file is damaged, has entries that are compressed (torch.save's are
  /// not) or a storage of another size than its tensors say; and where it is of another kind: with
  /// what it is and, of a TorchScript program, how to convert it.
  static TorchFile open(const std::filesystem::path& path);
  /// The same for a file in memory, which must outlive what is made of it; `name` is that in
  /// errors.
  static TorchFile parse(std::string_view name, std::span<const std::byte> bytes);

  /// The keys of the dict that the file holds; none where it holds something else.
  std::vector<std::string> keys() const;
  /// What the file holds, in words: "the keys 'epoch' 'net'", "an object of argparse.Namespace".
  std::string describe() const;
  /// The one tensor that the file holds, without a name.
  std::optional<TensorStream> tensor() const;
  /// All dicts that hold tensors, the outer ones first. They may outlive this object. Throws
  /// DataError where a key comes twice.
  std::vector<TorchDict> dicts() const;
  /// The tensors of the dict that the file holds.
  std::vector<TensorStream> tensors() const;
  /// The tensors of the dict under `key`; none where there is no such dict.
  std::vector<TensorStream> tensors(std::string_view key) const;

 private:
  struct Content;
  class Walk;

  explicit TorchFile(std::shared_ptr<const Content> content) : content_(std::move(content)) {}

  std::shared_ptr<const Content> content_;
};

}  // namespace pfc
