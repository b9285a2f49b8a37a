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

#include "pfc/export/tensor_stream.h"

namespace pfc {

/// A file of `torch.save`: a zip archive of a pickle and of the numbers of its tensors. Tensors are
/// all that is built from it, and nothing in it is run. Numbers are read when they are asked for,
/// so a file may be larger than memory.
///
/// What the file holds is a dict of tensors and of other dicts, or one tensor. Other values beside
/// them (numbers, texts, lists, an optimizer's state) are passed over. Types are float32, float64,
/// float16, bfloat16, int64, int32, int16, int8, uint8 and bool; any strides that do not repeat
/// elements.
class TorchFile {
 public:
  /// Throws DataError where the file is damaged, names anything of Python's but tensors and dicts,
  /// has entries that are compressed (torch.save's are not) or a storage of another size than its
  /// tensors say; and where it is of a kind that is not read, with how to convert it: PyTorch's
  /// format of before 1.6, and TorchScript.
  static TorchFile open(const std::filesystem::path& path);
  /// The same for a file in memory, which must outlive what is made of it; `name` is that in
  /// errors.
  static TorchFile parse(std::string_view name, std::span<const std::byte> bytes);

  /// The keys of the dict that the file holds; none where it holds something else.
  std::vector<std::string> keys() const;
  /// The one tensor that the file holds, without a name.
  std::optional<TensorStream> tensor() const;
  /// The tensors of the dict that the file holds, named by their keys, in their order. They may
  /// outlive this object. Throws DataError where a key comes twice.
  std::vector<TensorStream> tensors() const;
  /// The tensors of the dict under `key`; none where there is no such dict.
  std::vector<TensorStream> tensors(std::string_view key) const;

 private:
  struct Content;

  explicit TorchFile(std::shared_ptr<const Content> content) : content_(std::move(content)) {}

  std::shared_ptr<const Content> content_;
};

/// Whether a file that begins so is PyTorch's, of one of its formats of any age.
bool is_torch_file(std::span<const std::byte> begin);

}  // namespace pfc
