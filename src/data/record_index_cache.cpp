#include "data/record_index_cache.h"

#include <algorithm>
#include <array>
#include <cstddef>  // for offsetof
#include <functional>
#include <limits>

#include "data/little_endian.h"

namespace pfc {
namespace {

struct Header {
  std::array<char, 8> magic;
  RecordSource source;
  std::uint64_t images;
  std::int64_t declared_identities;
  std::uint32_t first_key;
  std::uint32_t has_keys;
  std::uint64_t checksum;
};
static_assert(sizeof(Header) == 72 && std::has_unique_object_representations_v<Header>);

constexpr std::array<char, 8> kMagic = {'p', 'f', 'c',  'i',
                                        'd', 'x', '\0', '\1'};  // the last one is the version
constexpr std::uint64_t kSmallestRecord = 32;                   // frame and image header

/// Every step is a bijection of the state for a given word, and of the word for a given state, so
/// that no change of one word goes unseen. As fast as the memory is read.
std::uint64_t checksum(std::uint64_t state, std::span<const std::byte> bytes) {
  const auto mix = [&state](std::uint64_t word) {
    state = (state ^ word) * 0x9E3779B97F4A7C15ULL;
    state ^= state >> 32;
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) mix(load<std::uint64_t>(bytes, i));
  std::uint64_t tail = 0;
  if (i < bytes.size()) std::memcpy(&tail, bytes.data() + i, bytes.size() - i);
  mix(tail);
  mix(bytes.size());
  return state;
}

std::uint64_t checksum_of(std::span<const std::byte> cache) {
  return checksum(checksum(0, cache.first(offsetof(Header, checksum))),
                  cache.subspan(sizeof(Header)));
}

template <class T>
void append_all(std::vector<std::byte>& out, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class T>
std::vector<T> take(std::span<const std::byte>& bytes, std::size_t count) {
  std::vector<T> values(count);
  std::memcpy(values.data(), bytes.data(), count * sizeof(T));
  bytes = bytes.subspan(count * sizeof(T));
  return values;
}

bool is_sound(const RecordIndex& index, std::uint64_t rec_size) {
  const std::int64_t limit =
      index.declared_identities > 0 ? index.declared_identities : kLargestLabel + 1;
  const bool offsets =
      std::all_of(index.offsets.begin(), index.offsets.end(), [&](std::uint64_t offset) {
        return offset % 4 == 0 && offset <= rec_size - kSmallestRecord;
      });
  const bool labels =
      std::all_of(index.identities.begin(), index.identities.end(),
                  [&](std::int32_t identity) { return identity >= 0 && identity < limit; });
  const bool ascending = std::adjacent_find(index.keys.begin(), index.keys.end(),
                                            std::greater_equal<>()) == index.keys.end();
  // Each has a record of its own.
  const bool identities =
      index.declared_identities >= 0 &&
      static_cast<std::uint64_t>(index.declared_identities) <= rec_size / kSmallestRecord;
  return offsets && labels && ascending && identities;
}

}  // namespace

std::vector<std::byte> encode_index_cache(const RecordIndex& index, const RecordSource& source) {
  std::vector<std::byte> bytes;
  bytes.reserve(sizeof(Header) + index.size() * 16);
  append(bytes, Header{.magic = kMagic,
                       .source = source,
                       .images = index.size(),
                       .declared_identities = index.declared_identities,
                       .first_key = index.first_key,
                       .has_keys = index.keys.empty() ? 0u : 1u,
                       .checksum = 0});
  append_all(bytes, index.offsets);
  append_all(bytes, index.identities);
  append_all(bytes, index.keys);
  seal_index_cache(bytes);
  return bytes;
}

std::optional<RecordIndex> decode_index_cache(std::span<const std::byte> bytes,
                                              const RecordSource& source) {
  if (bytes.size() < sizeof(Header) || source.rec.size < kSmallestRecord) return std::nullopt;
  const auto header = load<Header>(bytes, 0);
  const std::uint64_t body = bytes.size() - sizeof(Header);
  const std::uint64_t image_size = header.has_keys == 0 ? 12 : 16;
  if (header.magic != kMagic || header.source != source || header.has_keys > 1 ||
      header.images == 0 || body % image_size != 0 || body / image_size != header.images ||
      header.declared_identities < 0 ||
      header.first_key + (header.images - 1) > std::numeric_limits<std::uint32_t>::max() ||
      header.checksum != checksum_of(bytes)) {
    return std::nullopt;
  }
  bytes = bytes.subspan(sizeof(Header));
  RecordIndex index;
  index.offsets = take<std::uint64_t>(bytes, header.images);
  index.identities = take<std::int32_t>(bytes, header.images);
  if (header.has_keys == 1) index.keys = take<std::uint32_t>(bytes, header.images);
  index.first_key = header.first_key;
  index.declared_identities = header.declared_identities;
  if (!is_sound(index, source.rec.size)) return std::nullopt;
  return index;
}

void seal_index_cache(std::span<std::byte> bytes) {
  const std::uint64_t sum = checksum_of(bytes);
  std::memcpy(bytes.data() + offsetof(Header, checksum), &sum, sizeof sum);
}

}  // namespace pfc
