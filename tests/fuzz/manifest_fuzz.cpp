#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "pfc/base/error.h"
#include "pfc/train/manifest.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const pfc::Manifest manifest = pfc::parse_manifest(json, "fuzz");
    // What was read must be written in the same way.
    if (pfc::parse_manifest(to_json(manifest), "again") != manifest) __builtin_trap();
  } catch (const pfc::Error&) {
  }
  return 0;
}

/// Starts from a manifest, because the fuzzer would not find all of its keys.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned) {
  static const std::string seed = to_json(pfc::Manifest{
      .step = 3,
      .config = "seed = 1",
      .excluded = {"a"},
      .state = {{"best_accuracy", std::vector{0.5}}, {"corrupt", std::vector<std::int64_t>{1, 2}}},
      .files = {{"backbone.safetensors", {.bytes = 10, .blocks = {7}}}}});
  if (size < 8 && seed.size() <= limit) {
    std::memcpy(data, seed.data(), seed.size());
    size = seed.size();
  }
  return LLVMFuzzerMutate(data, size, limit);
}
