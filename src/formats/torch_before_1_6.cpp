#include "formats/torch_before_1_6.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/formats/tensor_stream.h"

namespace pfc {
namespace {

using pickle::as_text;

constexpr std::int64_t kOldVersion = 1001;

void check_machine(std::string_view file, const pickle::Document& machine) {
  const auto* dict = std::get_if<pickle::Dict>(&machine.root);
  if (dict == nullptr) throw DataError(file, "sys_info", "missing");
  for (const auto& [key, value] : machine.dicts[dict->index]) {
    const auto* little = std::get_if<bool>(&value);
    if (as_text(key) == "little_endian" && little != nullptr && !*little) {
      throw DataError(file, "sys_info", "numbers are big-endian, want little-endian");
    }
  }
}

/// The bytes of the storages by their keys; they begin at `offset`.
std::map<std::string_view, std::span<const std::byte>> find_storages(
    std::string_view file, std::span<const std::byte> bytes, std::size_t offset,
    const pickle::Document& keys, const TorchDialect& dialect) {
  std::map<std::string_view, std::span<const std::byte>> found;
  const auto* list = std::get_if<pickle::Sequence>(&keys.root);
  if (list == nullptr) throw DataError(file, "the storages' keys", "found no list of them");
  std::map<std::string_view, TorchStorage> known;
  for (const TorchStorage& storage : dialect.storages()) {
    const auto [place, is_new] = known.try_emplace(storage.key, storage);
    if (place->second.dtype != storage.dtype || place->second.size != storage.size) {
      throw DataError(file, "storage " + printable(storage.key), "is of two types or sizes");
    }
  }
  for (const pickle::Value& item : keys.sequences[list->index]) {
    const auto key = as_text(item);
    const auto storage = known.find(key.value_or(""));
    const std::string place = "storage " + printable(key.value_or("?"));
    if (storage == known.end()) throw DataError(file, place, "is of a type that is not read");
    std::uint64_t size = 0;
    const std::size_t left = bytes.size() - offset;
    const bool has_count = left >= sizeof size;
    if (has_count) std::memcpy(&size, bytes.data() + offset, sizeof size);
    if (has_count && size != storage->second.size) {
      throw DataError(file, place,
                      "found " + std::to_string(size) + " elements, want " +
                          std::to_string(storage->second.size));
    }
    if (!has_count || __builtin_mul_overflow(size, element_size(storage->second.dtype), &size) ||
        size > left - sizeof size) {
      throw DataError(file, place, "the file ends within it; is the file cut off?");
    }
    found[*key] = bytes.subspan(offset + sizeof size, size);
    offset += sizeof size + size;
  }
  return found;
}

}  // namespace

pickle::Document read_before_1_6(std::string_view file, std::span<const std::byte> bytes,
                                 TorchDialect& dialect,
                                 std::vector<std::span<const std::byte>>& storages) {
  const auto magic = pickle::read(file, bytes, dialect);
  const auto version = pickle::read(file, bytes, dialect, magic.end);
  if (const auto* number = std::get_if<std::int64_t>(&version.root);
      number == nullptr || *number != kOldVersion) {
    throw DataError(
        file, "protocol_version",
        "found another than " + std::to_string(kOldVersion) + ", want that of PyTorch 0.2 to 1.5");
  }
  const auto machine = pickle::read(file, bytes, dialect, version.end);
  check_machine(file, machine);
  auto document = pickle::read(file, bytes, dialect, machine.end);
  const auto keys = pickle::read(file, bytes, dialect, document.end);
  const auto found = find_storages(file, bytes, keys.end, keys, dialect);
  for (const TorchStorage& storage : dialect.storages()) {
    const auto place = found.find(storage.key);
    if (place == found.end()) {
      throw DataError(file, "storage " + printable(storage.key), "missing");
    }
    storages.push_back(place->second);
  }
  return document;
}

}  // namespace pfc
