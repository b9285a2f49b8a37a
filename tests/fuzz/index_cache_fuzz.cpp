// Reads bytes as the cached index of a valid .rec, and as the arrays of an index with a right
// checksum, which no fuzzer would find.
#include <algorithm>
#include <cstdint>
#include <span>

#include "base/little_endian.h"
#include "data/record_index_cache.h"
#include "pfc/base/error.h"
#include "small_rec.h"

namespace {

const auto& file() {
  static const auto bytes = pfc::small_rec();
  return bytes;
}

/// One place in each array for every 16 bytes except the first.
pfc::RecordIndex index_of(std::span<const std::byte> bytes) {
  pfc::RecordIndex index;
  if (bytes.size() < 16) return index;
  index.declared_identities = pfc::load<std::int64_t>(bytes, 0);
  index.first_key = pfc::load<std::uint32_t>(bytes, 8);
  const bool has_keys = bytes[12] != std::byte{};
  for (std::size_t i = 16; i + 16 <= bytes.size(); i += 16) {
    index.offsets.push_back(pfc::load<std::uint64_t>(bytes, i));
    index.identities.push_back(pfc::load<std::int32_t>(bytes, i + 8));
    if (has_keys) index.keys.push_back(pfc::load<std::uint32_t>(bytes, i + 12));
  }
  return index;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const pfc::RecordReader reader(file(), "fuzz.rec");
  static const pfc::RecordSource source{.rec = {.size = file().size(), .time = 1}, .idx = {}};
  const auto given = std::as_bytes(std::span(data, size));
  decode_index_cache(given, source);
  std::vector<std::byte> bytes;
  encode_index_cache(index_of(given), source, [&](std::span<const std::byte> part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  });
  const auto index = decode_index_cache(bytes, source);
  if (!index) return 0;
  for (const std::int32_t identity : index->identities) {
    if (identity < 0 ||
        identity > std::max<std::int64_t>(pfc::kLargestLabel, index->declared_identities - 1))
      __builtin_trap();
  }
  if (index->find(index->key(index->size() - 1)) != index->size() - 1) __builtin_trap();
  try {
    read_images(reader, *index);
  } catch (const pfc::Error&) {
  }
  return 0;
}
