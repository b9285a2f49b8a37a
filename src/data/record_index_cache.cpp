#include "data/record_index_cache.h"

#include <algorithm>
#include <array>
#include <cstddef>  // for offsetof
#include <functional>
#include <limits>

#include "base/little_endian.h"

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
                                        'd', 'x', '\0', '\2'};  // the last one is the version
constexpr std::uint64_t kSmallestRecord = 32;                   // frame and image header

/// Every step is a bijection of the state for a given word, and of the word for a given state, so
/// any change of a single word is noticed. It runs at memory speed.
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

std::uint64_t checksum_of(const Header& header) {
  return checksum(0, std::as_bytes(std::span(&header, 1)).first(offsetof(Header, checksum)));
}

/// Takes `count` values of `bytes` at `begin`, moves `begin` on, and computes their checksum. It
/// works piece by piece, so that `on_read` can give back what was read.
template <class T>
std::vector<T> take(std::span<const std::byte> bytes, std::size_t& begin, std::size_t count,
                    std::uint64_t& sum, const OnRead& on_read) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  std::vector<T> values(count);
  auto into = std::as_writable_bytes(std::span(values));
  for (std::size_t i = 0; i < into.size(); i += kPiece) {
    const std::size_t size = std::min(kPiece, into.size() - i);
    std::memcpy(into.data() + i, bytes.data() + begin + i, size);
    on_read(begin + i, begin + i + size);
  }
  begin += into.size();
  sum = checksum(sum, into);
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
  // Each identity has a record of its own.
  const bool identities =
      index.declared_identities >= 0 &&
      static_cast<std::uint64_t>(index.declared_identities) <= rec_size / kSmallestRecord;
  return offsets && labels && ascending && identities;
}

}  // namespace

void encode_index_cache(const RecordIndex& index, const RecordSource& source,
                        const std::function<void(std::span<const std::byte>)>& write) {
  Header header{.magic = kMagic,
                .source = source,
                .images = index.size(),
                .declared_identities = index.declared_identities,
                .first_key = index.first_key,
                .has_keys = index.keys.empty() ? 0u : 1u,
                .checksum = 0};
  const std::array arrays = {std::as_bytes(std::span(index.offsets)),
                             std::as_bytes(std::span(index.identities)),
                             std::as_bytes(std::span(index.keys))};
  header.checksum = checksum_of(header);
  for (const auto& array : arrays) header.checksum = checksum(header.checksum, array);
  write(std::as_bytes(std::span(&header, 1)));
  for (const auto& array : arrays) write(array);
}

std::optional<RecordIndex> decode_index_cache(std::span<const std::byte> bytes,
                                              const RecordSource& source, const OnRead& on_read) {
  if (bytes.size() < sizeof(Header) || source.rec.size < kSmallestRecord) return std::nullopt;
  const auto header = load<Header>(bytes, 0);
  const std::uint64_t body = bytes.size() - sizeof(Header);
  const std::uint64_t image_size = header.has_keys == 0 ? 12 : 16;
  if (header.magic != kMagic || header.source != source || header.has_keys > 1 ||
      header.images == 0 || body % image_size != 0 || body / image_size != header.images ||
      header.declared_identities < 0 ||
      header.first_key + (header.images - 1) > std::numeric_limits<std::uint32_t>::max()) {
    return std::nullopt;
  }
  std::size_t begin = sizeof(Header);
  RecordIndex index;
  std::uint64_t sum = checksum_of(header);
  index.offsets = take<std::uint64_t>(bytes, begin, header.images, sum, on_read);
  index.identities = take<std::int32_t>(bytes, begin, header.images, sum, on_read);
  index.keys =
      take<std::uint32_t>(bytes, begin, header.has_keys == 1 ? header.images : 0, sum, on_read);
  index.first_key = header.first_key;
  index.declared_identities = header.declared_identities;
  if (sum != header.checksum || !is_sound(index, source.rec.size)) return std::nullopt;
  return index;
}

}  // namespace pfc
