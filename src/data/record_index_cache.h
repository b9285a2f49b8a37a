#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <functional>
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

/// Writes a RecordIndex as bytes, little-endian: a header (magic with version, source, sizes,
/// checksum of all but itself), then offsets u64 [n], identities i32 [n] and, where they are not
/// consecutive, keys u32 [n].
void encode_index_cache(const RecordIndex& index, const RecordSource& source,
                        const std::function<void(std::span<const std::byte>)>& write);

using OnRead = std::function<void(std::uint64_t begin, std::uint64_t end)>;

/// Nothing where the bytes are stale, truncated, altered, or hold an offset, a label or a key that
/// cannot be: the index is then to be made anew. `on_read` is told which bytes were read.
std::optional<RecordIndex> decode_index_cache(
    std::span<const std::byte> bytes, const RecordSource& source,
    const OnRead& on_read = [](std::uint64_t, std::uint64_t) {});

}  // namespace pfc
