#pragma once

#include <gmock/gmock.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/little_endian.h"
#include "data/record_index.h"
#include "pfc/base/error.h"
#include "pfc/data/record_io.h"

namespace pfc {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Matches a DataError whose sentence contains `text`.
inline auto fails_with(const std::string& text) {
  return testing::ThrowsMessage<DataError>(testing::HasSubstr(text));
}

/// An image record's payload: flag = number of `labels`; `label` goes into the header.
inline std::vector<std::byte> payload_of(std::uint64_t id, float label,
                                         const std::vector<float>& labels, std::string_view image) {
  std::vector<std::byte> payload;
  append(payload, static_cast<std::uint32_t>(labels.size()));
  append(payload, label);
  append(payload, id);
  append(payload, std::uint64_t{0});
  for (const float value : labels) append(payload, value);
  const auto body = bytes_of(image);
  payload.insert(payload.end(), body.begin(), body.end());
  return payload;
}

/// A `.rec` in memory, with the lines of its `.idx`.
struct RecordBytes {
  std::vector<std::byte> bytes;
  RecordList listed;

  void add(std::uint32_t key, std::uint64_t id, const std::vector<float>& labels,
           std::string_view image) {
    listed.add(key, bytes.size());
    append_record(labels.size() == 1 ? payload_of(id, labels[0], {}, image)
                                     : payload_of(id, 0, labels, image),
                  bytes);
  }
  void add_image(std::uint32_t key, float label) {
    add(key, key, {label}, "image " + std::to_string(key));
  }
  void add_range(std::uint32_t key, float first, float last) { add(key, key, {first, last}, ""); }
  std::string idx() const {
    std::string text;
    for (std::size_t i = 0; i < listed.size(); ++i)
      text += idx_line(listed.keys[i], listed.offsets[i]);
    return text;
  }
  RecordReader reader() const { return {bytes, "train.rec"}; }
};

}  // namespace pfc
