#include "pfc/formats/torch_file.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <set>
#include <utility>

#include "base/pickle.h"
#include "formats/torch_archive.h"
#include "formats/torch_before_1_6.h"
#include "formats/torch_pickle.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using pickle::Document;
using pickle::Value;

constexpr std::string_view kZipMagic = "PK\3\4";

/// How deep nested dicts and modules are followed.
constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kKeysInText = 10;

void check_archive(const TorchArchive& archive) {
  if (archive.find("constants.pkl") || archive.has_folder("code/")) {
    const std::string& path = archive.file();
    throw DataError(path, "constants.pkl",
                    "a TorchScript program, want tensors; save those once: python -c \"import "
                    "torch; torch.save(torch.jit.load('" +
                        path + "', map_location='cpu').state_dict(), '" + path +
                        ".state_dict.pth')\"");
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

/// Copies a tensor in row-major order; `elements` begin at its first element.
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
      : file(name), map(std::move(mapped)) {
    if (recognise_file(bytes).format == FileFormat::kOldTorch) {
      document = read_before_1_6(file, bytes, dialect, storages);
    } else if (pickle::view(bytes).starts_with(kZipMagic)) {
      archive.emplace(file, bytes);
      pickle = read_pickle(*archive);
      document = pickle::read(file + ": data.pkl", pickle, dialect);
      for (const TorchStorage& storage : dialect.storages()) entries.push_back(find(storage));
    } else {
      refuse_kind(file, bytes, "a file of torch.save");
    }
  }

  static std::vector<std::byte> read_pickle(const TorchArchive& archive) {
    check_archive(archive);
    const auto entry = archive.find("data.pkl");
    if (!entry) {
      throw DataError(archive.file(), "data.pkl", "missing: a zip archive, but none of torch.save");
    }
    return archive.read(*entry, 0, entry->size);
  }

  TorchArchive::Entry find(const TorchStorage& storage) const {
    const std::string place = "storage " + printable(storage.key);
    const auto entry = archive->find("data/" + std::string(storage.key));
    if (!entry) throw DataError(file, place, "missing");
    std::uint64_t size = 0;
    if (__builtin_mul_overflow(storage.size, element_size(storage.dtype), &size) ||
        size != entry->size) {
      throw DataError(file, place,
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
    if (is_row_major(tensor)) {
      return read(tensor.storage, tensor.offset * element, size * element, sink);
    }
    std::uint64_t spread = 1;  // elements from the tensor's first to its last
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      spread += static_cast<std::uint64_t>((tensor.shape[i] - 1) * tensor.strides[i]);
    }
    std::vector<std::byte> elements;
    elements.reserve(spread * element);
    read(tensor.storage, tensor.offset * element, spread * element,
         [&](std::span<const std::byte> piece) {
           elements.insert(elements.end(), piece.begin(), piece.end());
         });
    sink(gather(tensor, elements, size, element));
  }

  /// A range of a storage's bytes.
  void read(std::size_t storage, std::uint64_t offset, std::uint64_t size,
            const ByteSink& sink) const {
    if (archive) return archive->read(entries[storage], offset, size, sink);
    sink(storages[storage].subspan(offset, size));
  }

  // A stream keeps what it reads from alive.

  static TensorStream stream(const std::shared_ptr<const Content>& content, std::string_view name,
                             const StridedTensor& tensor) {
    return {std::string(name), std::string(content->dialect.storages()[tensor.storage].dtype),
            tensor.shape,
            [content, &tensor](const ByteSink& sink) { content->read(tensor, sink); }};
  }

  /// Adds the tensors among `items`, with `prefix` in front of their names.
  static void add_tensors(const std::shared_ptr<const Content>& content,
                          const pickle::DictItems& items, const std::string& prefix,
                          TorchDict& dict) {
    std::set<std::string_view> names;
    for (const auto& [key, value] : items) {
      const auto name = as_text(key);
      if (!name) continue;
      if (const auto* tensor = content->dialect.as_tensor(value)) {
        if (!names.insert(*name).second) {
          throw DataError(content->file, "data.pkl",
                          "the name '" + printable(*name) + "' comes twice");
        }
        dict.tensors.push_back(stream(content, prefix + std::string(*name), *tensor));
      } else if (const auto why = TorchDialect::unread_tensor(value, content->document)) {
        dict.unread.push_back(prefix + std::string(*name) + ": " + *why);
      }
    }
  }

  static std::vector<TensorStream> tensors(const std::shared_ptr<const Content>& content,
                                           const Value& value) {
    TorchDict dict;
    add_tensors(content, content->items(value), "", dict);
    return std::move(dict.tensors);
  }

  pickle::DictItems items(const Value& value) const {
    return TorchDialect::items_of(value, document);
  }

  Value item(const pickle::DictItems& items, std::string_view key) const {
    const auto found =
        std::ranges::find_if(items, [&](const auto& item) { return as_text(item.first) == key; });
    return found == items.end() ? Value() : found->second;
  }

  /// The attributes of a module that was saved whole; none for other values.
  pickle::DictItems module_attributes(const Value& value) const {
    const auto* object = std::get_if<pickle::Unbuilt>(&value);
    if (object == nullptr) return {};
    pickle::DictItems attributes = items(document.unbuilt[object->index].state);
    const bool is_module = !std::holds_alternative<std::monostate>(item(attributes, "_modules"));
    return is_module ? attributes : pickle::DictItems();
  }

  std::string file;
  std::optional<MappedFile> map;
  std::optional<TorchArchive> archive;
  std::vector<std::byte> pickle;  ///< the archive's
  TorchDialect dialect;
  pickle::Document document;
  std::vector<TorchArchive::Entry>
      entries;  ///< of the dialect's storages, if the file is an archive
  std::vector<std::span<const std::byte>> storages;  ///< of the dialect's storages, otherwise
};

/// Walks through the content of a file, dicts and lists with any nesting, each of them once.
class TorchFile::Walk {
 public:
  explicit Walk(std::shared_ptr<const Content> content) : content_(std::move(content)) {
    meet(content_->document.root, "", 0);
    while (!waiting_.empty()) {
      const Place place = std::move(waiting_.front());
      waiting_.pop_front();
      visit(place);
    }
  }

  std::vector<TorchDict> dicts() && { return std::move(dicts_); }

 private:
  struct Place {
    Value value;
    std::string path;
    std::size_t depth;
  };

  void meet(const Value& value, const std::string& path, std::size_t depth) {
    if (depth <= kMaxDepth && is_new(value)) waiting_.push_back({value, path, depth});
  }

  void visit(const Place& place) {
    TorchDict dict{place.path, {}, {}};
    const auto inner = [&](const std::string& key) {
      return place.path.empty() ? key : place.path + "." + key;
    };
    const Document& document = content_->document;
    if (const auto attributes = content_->module_attributes(place.value); !attributes.empty()) {
      add_module(attributes, "", 0, dict);
    } else if (const auto* list = std::get_if<pickle::Sequence>(&place.value)) {
      const pickle::Items& items = document.sequences[list->index];
      for (std::size_t i = 0; i < items.size(); ++i)
        meet(items[i], inner(std::to_string(i)), place.depth + 1);
    } else {
      const pickle::DictItems items = content_->items(place.value);
      Content::add_tensors(content_, items, "", dict);
      for (const auto& [key, value] : items) {
        const auto* number = std::get_if<std::int64_t>(&key);
        const auto text =
            number != nullptr ? std::to_string(*number) : std::string(as_text(key).value_or("?"));
        meet(value, inner(text), place.depth + 1);
      }
      if (const auto* object = std::get_if<pickle::Unbuilt>(&place.value))
        meet(document.unbuilt[object->index].state, place.path, place.depth + 1);
    }
    if (!dict.tensors.empty() || !dict.unread.empty()) dicts_.push_back(std::move(dict));
  }

  void add_module(const pickle::DictItems& attributes, const std::string& prefix, std::size_t depth,
                  TorchDict& dict) {
    for (const std::string_view kind : {"_parameters", "_buffers"}) {
      Content::add_tensors(content_, content_->items(content_->item(attributes, kind)), prefix,
                           dict);
    }
    if (depth == kMaxDepth) return;
    for (const auto& [key, module] : content_->items(content_->item(attributes, "_modules"))) {
      const auto name = as_text(key);
      if (!name || !is_new(module)) continue;
      add_module(content_->module_attributes(module), prefix + std::string(*name) + ".", depth + 1,
                 dict);
    }
  }

  /// Whether a value may hold others and has not been visited.
  bool is_new(const Value& value) {
    std::optional<std::size_t> number;
    if (const auto* list = std::get_if<pickle::Sequence>(&value)) number = list->index;
    if (const auto* dict = std::get_if<pickle::Dict>(&value)) number = dict->index;
    if (const auto* object = std::get_if<pickle::Unbuilt>(&value)) number = object->index;
    if (TorchDialect::is_ordered_dict(value)) number = std::get<pickle::Object>(value).number;
    return number && met_.insert({value.index(), *number}).second;
  }

  std::shared_ptr<const Content> content_;
  std::set<std::pair<std::size_t, std::size_t>> met_;  ///< kinds and numbers of values
  std::deque<Place> waiting_;
  std::vector<TorchDict> dicts_;
};

TorchFile TorchFile::open(const std::filesystem::path& path) {
  MappedFile file(path);
  const auto bytes = file.bytes();
  return TorchFile(std::make_shared<Content>(path.string(), bytes, std::move(file)));
}

TorchFile TorchFile::parse(std::string_view name, std::span<const std::byte> bytes) {
  return TorchFile(std::make_shared<Content>(name, bytes));
}

std::vector<std::string> TorchFile::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : content_->items(content_->document.root)) {
    if (const auto text = as_text(key)) keys.emplace_back(*text);
  }
  return keys;
}

std::string TorchFile::describe() const {
  const Document& document = content_->document;
  if (tensor()) return "one tensor without a name";
  if (const auto names = keys(); !names.empty()) {
    std::string text = "the keys";
    for (std::size_t i = 0; i < std::min(names.size(), kKeysInText); ++i) {
      text += " '" + printable(names[i]) + "'";
    }
    return text + (names.size() > kKeysInText ? " and more" : "");
  }
  if (const auto* object = std::get_if<pickle::Unbuilt>(&document.root)) {
    const auto& [module, name, items, state] = document.unbuilt[object->index];
    return "an object of " + printable(module) + "." + printable(name);
  }
  return std::string(kind(document.root));
}

std::vector<TorchDict> TorchFile::dicts() const {
  return Walk(content_).dicts();
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
  return Content::tensors(content_, content_->item(content_->items(content_->document.root), key));
}

}  // namespace pfc
