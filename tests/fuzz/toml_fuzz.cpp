// Reads bytes as a configuration. Any text is read or refused, and a configuration that was read is
// written so that it reads back equal.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pfc/base/error.h"
#include "pfc/train/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto end_of_first_line = text.find('\n');
  try {  // the first line is an override, the rest the file
    const bool whole = end_of_first_line == std::string_view::npos;
    const pfc::Config config =
        pfc::parse_config(whole ? "" : text.substr(end_of_first_line + 1), "fuzz.toml",
                          {std::string(text.substr(0, end_of_first_line))});
    if (pfc::parse_config(pfc::to_toml(config), "written.toml", {}) != config) std::abort();
  } catch (const pfc::Error&) {
  }
  return 0;
}
