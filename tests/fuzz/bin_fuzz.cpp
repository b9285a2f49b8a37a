// Bytes as a verification set.
#include <cstdint>
#include <cstring>
#include <iterator>

#include "../data/verification_fixtures.h"
#include "../hex.h"
#include "pfc/base/error.h"
#include "pfc/data/verification_set.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto set = pfc::VerificationSet::parse("fuzz.bin", std::as_bytes(std::span(data, size)));
    std::vector<std::byte> copy;
    for (std::int64_t i = 0; i < 2 * set.pairs(); ++i) {
      copy.assign(set.image(i).begin(), set.image(i).end());
    }
  } catch (const pfc::Error&) {
  }
  return 0;
}

/// Starts from sets as Python writes them, so that mutations reach the code behind their names.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned random) {
  if (size < 8) {
    const auto seed = pfc::from_hex(pfc::kPickledSets[random % std::size(pfc::kPickledSets)].hex);
    if (seed.size() <= limit) {
      std::memcpy(data, seed.data(), seed.size());
      size = seed.size();
    }
  }
  return LLVMFuzzerMutate(data, size, limit);
}
