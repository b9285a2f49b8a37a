// Bytes as the cached index of a valid .rec, under a right checksum and the right source, since a
// fuzzer finds neither.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "data/record_index_cache.h"
#include "pfc/base/error.h"
#include "small_rec.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

namespace {

const auto& file() {
  static const auto bytes = pfc::small_rec();
  return bytes;
}

const pfc::RecordSource& source() {
  static const pfc::RecordSource value{.rec = {.size = file().size(), .time = 1}, .idx = {}};
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const pfc::RecordReader reader(file(), "fuzz.rec");
  const auto given = std::as_bytes(std::span(data, size));
  decode_index_cache(given, source());
  // The magic and the source of a real one before the bytes, the checksum into them.
  const auto real = encode_index_cache(index_records(reader), source());
  const std::size_t fixed = 8 + sizeof(pfc::RecordSource);
  std::vector<std::byte> bytes(real.begin(), real.begin() + fixed);
  bytes.insert(bytes.end(), given.begin(), given.end());
  if (bytes.size() < 72) return 0;
  pfc::seal_index_cache(bytes);
  const auto index = decode_index_cache(bytes, source());
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

/// Starts from a valid cache, less the part that is fixed.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned) {
  const pfc::RecordReader reader(file(), "fuzz.rec");
  static const auto real = encode_index_cache(index_records(reader), source());
  const auto seed = std::span(real).subspan(8 + sizeof(pfc::RecordSource));
  if (size < 8 && seed.size() <= limit) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, limit);
}
