#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/file_stamp.h"
#include "data/record_index.h"

namespace pfc {

/// What an index was made from.
struct RecordSource {
  FileStamp rec;
  FileStamp idx;

  bool operator==(const RecordSource&) const = default;
};

/// A RecordIndex as bytes, little-endian: a header (magic with version, source, sizes, checksum of
/// all but itself), then offsets u64 [n], identities i32 [n] and, where they are not consecutive,
/// keys u32 [n].
std::vector<std::byte> encode_index_cache(const RecordIndex& index, const RecordSource& source);

/// Nothing where the bytes are stale, truncated, altered, or hold an offset, a label or a key that
/// cannot be: the index is then to be made anew.
std::optional<RecordIndex> decode_index_cache(std::span<const std::byte> bytes,
                                              const RecordSource& source);

/// Writes the right checksum into bytes as long as a header or longer; for the fuzzer, too.
void seal_index_cache(std::span<std::byte> bytes);

}  // namespace pfc
