#include "pfc/base/random.h"

#include <bit>
#include <cassert>

namespace pfc {
namespace {

/// The finaliser of MurmurHash3: every input bit reaches every output bit.
constexpr std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  x ^= x >> 33;
  return x;
}

}  // namespace

Permutation::Permutation(std::int64_t n, const CounterRandom& random, std::uint64_t a) : n_(n) {
  assert(n > 0);
  const int bits = std::bit_width(static_cast<std::uint64_t>(n - 1));
  half_bits_ = bits < 2 ? 1 : (bits + 1) / 2;
  for (int round = 0; round < kRounds; ++round) {
    keys_[static_cast<std::size_t>(round)] = random.bits(a, static_cast<std::uint64_t>(round));
  }
}

std::int64_t Permutation::operator()(std::int64_t index) const {
  assert(index >= 0 && index < n_);
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  auto x = static_cast<std::uint64_t>(index);
  do {  // the domain is at most four times n, so a walk takes at most four steps on average
    std::uint64_t left = x >> half_bits_;
    std::uint64_t right = x & mask;
    for (const std::uint64_t key : keys_) {
      const std::uint64_t next = left ^ (mix(right + key) & mask);
      left = right;
      right = next;
    }
    x = (left << half_bits_) | right;
  } while (x >= static_cast<std::uint64_t>(n_));
  return static_cast<std::int64_t>(x);
}

}  // namespace pfc
