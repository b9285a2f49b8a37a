#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace pfc {

/// A verification set as Python 3 pickles it: images two and two, and whether a pair shows one
/// person.
inline std::string verification_pickle(const std::vector<std::vector<std::byte>>& images,
                                       const std::vector<bool>& same) {
  std::string text = "\x80\x03(](";
  for (const auto& image : images) {
    text += 'B';
    for (int shift = 0; shift < 32; shift += 8)
      text += static_cast<char>(image.size() >> shift & 0xff);
    text.append(reinterpret_cast<const char*>(image.data()), image.size());
  }
  text += "e](";
  for (const bool flag : same) text += flag ? '\x88' : '\x89';
  return text + "et.";
}

}  // namespace pfc
