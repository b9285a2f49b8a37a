// Bytes as the text files beside a valid .rec: its .idx, and its property.
#include <cstdint>

#include "pfc/base/error.h"
#include "small_rec.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto file = pfc::small_rec();
  static const pfc::RecordReader reader(file, "fuzz.rec");
  static const pfc::RecordIndex scanned = index_records(reader);
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    read_images(reader, index_records(reader, pfc::parse_idx(bytes, "fuzz.idx"), "fuzz.idx"));
  } catch (const pfc::Error&) {
  }
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_property(scanned, pfc::parse_property(text, "property"), "property");
  } catch (const pfc::Error&) {
  }
  return 0;
}
