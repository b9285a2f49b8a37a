// Reads bytes as the lists that consist only of lines: names, identities, identities that are the
// same, rows of CSV.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "data/text_lines.h"
#include "pfc/base/error.h"
#include "pfc/data/face_selection.h"
#include "pfc/data/list_name.h"

namespace {

template <class Parse>
void parse(const Parse& parse) {
  try {
    parse();
  } catch (const pfc::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string name = "fuzz.txt";
  parse([&] {
    pfc::TextLines lines(std::as_bytes(std::span(data, size)), name, ',');
    while (lines.next()) {
      for (const std::string_view field : lines.fields())
        if (field.empty()) __builtin_trap();
    }
  });
  parse([&] { pfc::parse_identities(text, name); });
  parse([&] { pfc::parse_same(text, name); });
  // Whatever a name is, its line is found again. It is not the first line, because a list that
  // begins with an archive's first bytes would count as an archive.
  const std::string line = std::string(300, 'a') + "\n" + pfc::list_name(text) + "\twhy\n";
  if (!text.empty() && !pfc::parse_names(line, name).find(text)) __builtin_trap();
  return 0;
}
