#pragma once

#include <cstdint>
#include <string_view>

namespace pfc {

/// FNV-1a of words and texts, in order. It tells different contents apart; it does not stop an
/// attacker.
class Fingerprint {
 public:
  void add(std::uint32_t word) { value_ = (value_ ^ word) * 0x100000001b3ULL; }
  void add(std::string_view text) {
    for (const char c : text) add(std::uint32_t{static_cast<unsigned char>(c)});
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

}  // namespace pfc
