#pragma once

#include <string>
#include <vector>

#include "base/little_endian.h"
#include "data/record_index.h"
#include "pfc/data/record_io.h"

namespace pfc {

/// A valid `.rec` in the face layout: three images of two identities, one of them split at a magic,
/// key 0 last.
inline std::vector<std::byte> small_rec() {
  std::vector<std::byte> file;
  const auto add = [&file](std::uint64_t key, std::vector<float> labels, bool is_image) {
    std::vector<std::byte> payload;
    append(payload, static_cast<std::uint32_t>(labels.size()));
    append(payload, 0.0f);
    append(payload, key);
    append(payload, std::uint64_t{0});
    for (const float label : labels) append(payload, label);
    if (is_image) append(payload, key == 2 ? kRecordMagic : 0xD8FFu);
    append_record(payload, file);
  };
  add(1, {0}, true);
  add(2, {0}, true);
  add(3, {1}, true);
  add(4, {1, 3}, false);
  add(5, {3, 4}, false);
  add(0, {4, 6}, false);
  return file;
}

/// Reads every byte of every image that an index names, as a dataset does.
inline void read_images(const RecordReader& reader, const RecordIndex& index) {
  std::vector<std::byte> scratch;
  std::uint64_t sum = 0;
  for (const std::uint64_t offset : index.offsets) {
    for (const std::byte byte : reader.image_record_at(offset, scratch).image) {
      sum += std::to_integer<std::uint64_t>(byte);
    }
  }
  if (sum > 255 * reader.size() * index.size()) __builtin_trap();
}

}  // namespace pfc
