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
/// checksum of everything but itself), then offsets u64 [n], identities i32 [n] and, if they are
/// not consecutive, keys u32 [n].
void encode_index_cache(const RecordIndex& index, const RecordSource& source,
                        const std::function<void(std::span<const std::byte>)>& write);

using OnRead = std::function<void(std::uint64_t begin, std::uint64_t end)>;

/// Nothing if the bytes are stale, truncated or altered, or hold an impossible offset, label or
/// key; the index must then be made anew. `on_read` is told which bytes were read.
std::optional<RecordIndex> decode_index_cache(
    std::span<const std::byte> bytes, const RecordSource& source,
    const OnRead& on_read = [](std::uint64_t, std::uint64_t) {});

}  // namespace pfc
