#include "pfc/base/random.h"

#include <bit>
#include <cassert>

namespace pfc {
namespace {

__extension__ using Wide = unsigned __int128;

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

Philox CounterRandom::start(std::uint64_t a, std::uint64_t b) const {
  // The stream takes a word of the counter; the upper half of `a` is folded into the key so that no
  // bit is lost.
  return {.counter = {static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(b >> 32),
                      static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(stream_)},
          .key = {static_cast<std::uint32_t>(seed_),
                  static_cast<std::uint32_t>(seed_ >> 32) ^ static_cast<std::uint32_t>(a >> 32)}};
}

std::array<std::uint32_t, 4> CounterRandom::words(std::uint64_t a, std::uint64_t b) const {
  auto [x, key] = start(a, b);
  for (int round = 0; round < Philox::kRounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{Philox::kMultiplier0} * x[0];
    const std::uint64_t p1 = std::uint64_t{Philox::kMultiplier1} * x[2];
    x = {static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ key[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += Philox::kWeyl0;
    key[1] += Philox::kWeyl1;
  }
  return x;
}

std::uint64_t CounterRandom::bits(std::uint64_t a, std::uint64_t b) const {
  const auto x = words(a, b);
  return (std::uint64_t{x[1]} << 32) | x[0];
}

std::int64_t CounterRandom::below(std::int64_t n, std::uint64_t a, std::uint64_t b) const {
  assert(n > 0);
  return static_cast<std::int64_t>((Wide{bits(a, b)} * static_cast<std::uint64_t>(n)) >> 64);
}

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
  do {  // the domain is at most four times n, so a walk takes four steps at the most on average
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
