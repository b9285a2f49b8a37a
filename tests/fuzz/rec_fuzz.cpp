// Bytes as a .rec without .idx: indexed by a scan, then every image read.
#include <cstdint>
#include <cstring>

#include "pfc/base/error.h"
#include "small_rec.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const pfc::RecordReader reader(std::as_bytes(std::span(data, size)), "fuzz.rec");
  try {
    read_images(reader, index_records(reader));
  } catch (const pfc::Error&) {
  }
  return 0;
}

/// Starts from a valid file, so that mutations reach the code behind the magic.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned) {
  static const auto seed = pfc::small_rec();
  if (size < 8 && seed.size() <= limit) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, limit);
}
