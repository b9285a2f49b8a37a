#include "pfc/export/torch_file.h"

#include <cstring>
#include <set>
#include <utility>

#include "base/pickle.h"
#include "export/torch_archive.h"
#include "export/torch_pickle.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using pickle::Dict;
using pickle::Value;

constexpr std::string_view kZipMagic = "PK\3\4";
/// A pickle of protocol 2 whose first value is the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kOldMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr std::string_view kTarMagic = "ustar";
constexpr std::size_t kTarMagicOffset = 257;

bool is_of_before_1_6(std::string_view begin) {
  return begin.starts_with(kOldMagic) ||
         (begin.size() > kTarMagicOffset && begin.substr(kTarMagicOffset).starts_with(kTarMagic));
}

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (!text.empty()) text += ' ';
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

void check_magic(std::string_view file, std::string_view begin) {
  if (is_of_before_1_6(begin)) {
    const std::string path(file);
    throw DataError(file, "offset 0",
                    "in PyTorch's format of before 1.6; convert it once: python -c \"import torch; "
                    "torch.save(torch.load('" +
                        path + "', map_location='cpu'), '" + path + "')\"");
  }
  if (!begin.starts_with(kZipMagic)) {
    throw DataError(file, "offset 0",
                    "found " + (begin.empty() ? "an empty file" : hex(begin.substr(0, 4))) +
                        ", want the zip archive of torch.save, 50 4b 03 04");
  }
}

void check_archive(const TorchArchive& archive) {
  if (archive.find("constants.pkl") || archive.has_folder("code/")) {
    const std::string& path = archive.file();
    throw DataError(path, "constants.pkl",
                    "a TorchScript program, want tensors; save those once: python -c \"import "
                    "torch; torch.save(torch.jit.load('" +
                        path + "', map_location='cpu').state_dict(), 'state_dict.pth')\"");
  }
  constexpr std::string_view kOrder = "little";
  const auto entry = archive.find("byteorder");  // files from before PyTorch 2.1 have none
  if (!entry) return;
  std::vector<std::byte> order;
  if (entry->size <= kOrder.size()) order = archive.read(*entry, 0, entry->size);
  if (pickle::view(order) != kOrder) {
    throw DataError(archive.file(), "byteorder",
                    "found '" + printable(pickle::view(order)) + "', want 'little'");
  }
}

bool is_row_major(const StridedTensor& tensor) {
  std::int64_t step = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != step) return false;
    step *= tensor.shape[i];
  }
  return true;
}

/// `elements` begin at the tensor's first one -> the tensor's, row-major.
std::vector<std::byte> gather(const StridedTensor& tensor, std::span<const std::byte> elements,
                              std::uint64_t size, std::uint64_t element) {
  std::vector<std::byte> out(size * element);
  std::vector<std::int64_t> at(tensor.shape.size());
  std::uint64_t from = 0;
  for (std::uint64_t i = 0; i < size; ++i) {
    std::memcpy(out.data() + i * element, elements.data() + from * element, element);
    for (std::size_t axis = at.size(); axis-- > 0;) {
      const auto stride = static_cast<std::uint64_t>(tensor.strides[axis]);
      from += stride;
      if (++at[axis] < tensor.shape[axis]) break;
      from -= static_cast<std::uint64_t>(at[axis]) * stride;
      at[axis] = 0;
    }
  }
  return out;
}

}  // namespace

struct TorchFile::Content {
  Content(std::string_view name, std::span<const std::byte> bytes,
          std::optional<MappedFile> mapped = {})
      : file(std::move(mapped)), archive(name, bytes), pickle(read_pickle()) {
    document = pickle::read(archive.file() + ": data.pkl", pickle, dialect);
    for (const TorchStorage& storage : dialect.storages()) entries.push_back(find(storage));
  }

  std::vector<std::byte> read_pickle() const {
    check_archive(archive);
    const auto entry = archive.find("data.pkl");
    if (!entry) {
      throw DataError(archive.file(), "data.pkl", "missing: a zip archive, but none of torch.save");
    }
    return archive.read(*entry, 0, entry->size);
  }

  TorchArchive::Entry find(const TorchStorage& storage) const {
    const std::string place = "storage " + printable(storage.key);
    const auto entry = archive.find("data/" + std::string(storage.key));
    if (!entry) throw DataError(archive.file(), place, "missing");
    std::uint64_t size = 0;
    if (__builtin_mul_overflow(storage.size, element_size(storage.dtype), &size) ||
        size != entry->size) {
      throw DataError(archive.file(), place,
                      "found " + std::to_string(entry->size) + " bytes, want " +
                          std::to_string(storage.size) + " elements of " +
                          std::string(storage.dtype));
    }
    return *entry;
  }

  void read(const StridedTensor& tensor, const ByteSink& sink) const {
    const std::uint64_t element = element_size(dialect.storages()[tensor.storage].dtype);
    std::uint64_t size = 1;
    for (const std::int64_t extent : tensor.shape) size *= static_cast<std::uint64_t>(extent);
    if (size == 0) return;
    const auto& entry = entries[tensor.storage];
    if (is_row_major(tensor)) {
      return archive.read(entry, tensor.offset * element, size * element, sink);
    }
    std::uint64_t spread = 1;  // elements from its first to its last
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      spread += static_cast<std::uint64_t>((tensor.shape[i] - 1) * tensor.strides[i]);
    }
    sink(gather(tensor, archive.read(entry, tensor.offset * element, spread * element), size,
                element));
  }

  const std::vector<std::pair<Value, Value>>* items(const Value& value) const {
    const auto* dict = std::get_if<Dict>(&value);
    return dict == nullptr ? nullptr : &document.dicts[dict->index];
  }

  // A stream keeps alive what it reads from.

  static TensorStream stream(const std::shared_ptr<const Content>& content, std::string_view name,
                             const StridedTensor& tensor) {
    return {std::string(name), std::string(content->dialect.storages()[tensor.storage].dtype),
            tensor.shape,
            [content, &tensor](const ByteSink& sink) { content->read(tensor, sink); }};
  }

  static std::vector<TensorStream> tensors(const std::shared_ptr<const Content>& content,
                                           const Value& dict) {
    std::vector<TensorStream> tensors;
    const auto* items = content->items(dict);
    if (items == nullptr) return tensors;
    std::set<std::string_view> names;
    for (const auto& [key, value] : *items) {
      const auto name = as_text(key);
      const auto* tensor = content->dialect.as_tensor(value);
      if (!name || tensor == nullptr) continue;
      if (!names.insert(*name).second) {
        throw DataError(content->archive.file(), "data.pkl",
                        "the name '" + printable(*name) + "' comes twice");
      }
      tensors.push_back(stream(content, *name, *tensor));
    }
    return tensors;
  }

  std::optional<MappedFile> file;
  TorchArchive archive;
  std::vector<std::byte> pickle;
  TorchDialect dialect;
  pickle::Document document;
  std::vector<TorchArchive::Entry> entries;  ///< of the dialect's storages
};

TorchFile TorchFile::open(const std::filesystem::path& path) {
  MappedFile file(path);
  const auto bytes = file.bytes();
  check_magic(path.string(), pickle::view(bytes));
  return TorchFile(std::make_shared<Content>(path.string(), bytes, std::move(file)));
}

TorchFile TorchFile::parse(std::string_view name, std::span<const std::byte> bytes) {
  check_magic(name, pickle::view(bytes));
  return TorchFile(std::make_shared<Content>(name, bytes));
}

std::vector<std::string> TorchFile::keys() const {
  std::vector<std::string> keys;
  if (const auto* items = content_->items(content_->document.root)) {
    for (const auto& [key, value] : *items) {
      if (const auto text = as_text(key)) keys.emplace_back(*text);
    }
  }
  return keys;
}

std::optional<TensorStream> TorchFile::tensor() const {
  const auto* tensor = content_->dialect.as_tensor(content_->document.root);
  if (tensor == nullptr) return std::nullopt;
  return Content::stream(content_, "", *tensor);
}

std::vector<TensorStream> TorchFile::tensors() const {
  return Content::tensors(content_, content_->document.root);
}

std::vector<TensorStream> TorchFile::tensors(std::string_view key) const {
  if (const auto* items = content_->items(content_->document.root)) {
    for (const auto& [name, value] : *items) {
      if (as_text(name) == key) return Content::tensors(content_, value);
    }
  }
  return {};
}

bool is_torch_file(std::span<const std::byte> begin) {
  const std::string_view text = pickle::view(begin);
  return text.starts_with(kZipMagic) || is_of_before_1_6(text);
}

}  // namespace pfc
