#pragma once

#include <array>
#include <cassert>
#include <cstdint>

namespace pfc {

/// What a random number is used for. Two uses never share a stream, so the draws of one cannot
/// change the draws of another.
enum class RandomStream : std::uint32_t {
  kEpochOrder = 1,
  kMirror = 2,
  kStratumOffset = 3,
  kStratumDraw = 4,
  kUniformOrder = 5,
  kCentreInit = 6,
  kFaceIdentity = 7,
  kFaceImage = 8,
  kFaceNoise = 9,
  kFacePair = 10,
  kTokenMask = 11,
  kStochasticDepth = 12,
  kBenchmark = 13,
  kRounding = 14,
  kFirstBlock = 15,
  kBlockOrder = 16,
  kWindowOrder = 17,
  kRecordOrder = 18,
  kHeldOut = 19,
  kSheet = 20,
  kFeatureNoise = 21,
  kAugmentation = 22,
  kLoss = 30,
};

/// The state from which Philox4x32-10 computes its words (see CounterRandom).
struct Philox {
  static constexpr int kRounds = 10;
  static constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  static constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

  std::array<std::uint32_t, 4> counter;
  std::array<std::uint32_t, 2> key;

  constexpr std::array<std::uint32_t, 4> words() const {
    auto [x, k] = *this;
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t p0 = std::uint64_t{kMultiplier0} * x[0];
      const std::uint64_t p1 = std::uint64_t{kMultiplier1} * x[2];
      x = {static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ k[0], static_cast<std::uint32_t>(p1),
           static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ k[1], static_cast<std::uint32_t>(p0)};
      k[0] += kWeyl0;
      k[1] += kWeyl1;
    }
    return x;
  }
};

/// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011). A draw is a pure function of (seed, stream, a, b). Every rank can compute
/// any draw, in any order, without state and without talking to the others. The functions are
/// constexpr, because GPU code may call only those.
class CounterRandom {
 public:
  constexpr CounterRandom(std::uint64_t seed, RandomStream stream) : seed_(seed), stream_(stream) {}

  /// 64 random bits for the counter (a, b). `a` is below 2^32; `b` may use all 64 bits.
  constexpr std::uint64_t bits(std::uint64_t a, std::uint64_t b) const {
    const auto x = words(a, b);
    return (std::uint64_t{x[1]} << 32) | x[0];
  }
  /// Uniform in [0, n), n > 0. The bias is below n / 2^64.
  constexpr std::int64_t below(std::int64_t n, std::uint64_t a, std::uint64_t b) const {
    assert(n > 0);
    return static_cast<std::int64_t>((Wide{bits(a, b)} * static_cast<std::uint64_t>(n)) >> 64);
  }
  /// Four 32-bit words at once, for bulk use.
  constexpr std::array<std::uint32_t, 4> words(std::uint64_t a, std::uint64_t b) const {
    return start(a, b).words();
  }
  /// The state that `words(a, b)` starts from, for code that computes several `b` at once. The
  /// first two words of the counter are b's.
  constexpr Philox start(std::uint64_t a, std::uint64_t b) const {
    // The stream uses one word of the counter. The upper half of `a` is folded into the key, so
    // that no bit is lost.
    return {.counter = {static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(b >> 32),
                        static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(stream_)},
            .key = {static_cast<std::uint32_t>(seed_),
                    static_cast<std::uint32_t>(seed_ >> 32) ^ static_cast<std::uint32_t>(a >> 32)}};
  }
  bool operator==(const CounterRandom&) const = default;

 private:
  __extension__ typedef unsigned __int128 Wide;  // the form that nvcc accepts

  std::uint64_t seed_;
  RandomStream stream_;
};

/// A keyed permutation of [0, n) that stores nothing: a Feistel network over the next even number
/// of bits, applied again until the result lies in the range (Black and Rogaway, "Ciphers with
/// arbitrary finite domains", CT-RSA 2002).
class Permutation {
 public:
  /// `n` > 0. Equal (n, random, a) give the same permutation.
  Permutation(std::int64_t n, const CounterRandom& random, std::uint64_t a);
  std::int64_t operator()(std::int64_t index) const;

 private:
  static constexpr int kRounds = 8;
  std::int64_t n_;
  int half_bits_;
  std::array<std::uint64_t, kRounds> keys_;
};

}  // namespace pfc
