#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace pfc {

/// A histogram of scores in equal bins over [−1, 1]. Scores outside count in the outermost bins.
class ScoreCounter {
 public:
  explicit ScoreCounter(std::int64_t bins)
      : bins_(bins), even_(size()), odd_(size()), sum_(size()) {}

  /// A larger float32 score never falls into a lower bin.
  static std::int64_t bin(float score, std::int64_t bins) {
    const auto place = static_cast<std::int32_t>((score + 1.0f) * bins_a_unit(bins));
    return std::clamp<std::int32_t>(place, 0, static_cast<std::int32_t>(bins - 1));
  }

  /// Returns the highest of the scores.
  float add(std::span<const float> scores) {
    constexpr std::size_t kPiece = 256;  // a constant, so that the compiler can vectorise
    float highest = -std::numeric_limits<float>::infinity();
    std::array<std::int32_t, kPiece> places;
    const float scale = bins_a_unit(bins_);
    const auto last = static_cast<std::int32_t>(bins_ - 1);
    std::size_t i = 0;
    for (; i + kPiece <= scores.size(); i += kPiece) {
      const float* const piece = scores.data() + i;
      for (std::size_t k = 0; k < kPiece; ++k) {
        const auto place = static_cast<std::int32_t>((piece[k] + 1.0f) * scale);
        places[k] = std::clamp(place, 0, last);
      }
      // Two counters, so that an addition need not wait for the one before, which often hits the
      // same bin.
      for (std::size_t k = 0; k < kPiece; k += 2) {
        ++even_[static_cast<std::size_t>(places[k])];
        ++odd_[static_cast<std::size_t>(places[k + 1])];
      }
      for (std::size_t k = 0; k < kPiece; ++k) highest = std::max(highest, piece[k]);
    }
    for (; i < scores.size(); ++i) {
      ++even_[static_cast<std::size_t>(bin(scores[i], bins_))];
      highest = std::max(highest, scores[i]);
    }
    counted_ += scores.size();
    if (counted_ > std::numeric_limits<std::uint32_t>::max() / 2) settle();
    return highest;
  }

  void add_to(std::span<std::int64_t> histogram) {
    settle();
    std::ranges::transform(histogram, sum_, histogram.begin(), std::plus());
  }

 private:
  static float bins_a_unit(std::int64_t bins) {
    const std::int64_t half = bins / 2;
    return static_cast<float>(half);
  }
  std::size_t size() const { return static_cast<std::size_t>(bins_); }

  void settle() {
    for (std::size_t i = 0; i < size(); ++i) sum_[i] += std::int64_t{even_[i]} + odd_[i];
    std::ranges::fill(even_, 0);
    std::ranges::fill(odd_, 0);
    counted_ = 0;
  }

  std::int64_t bins_;
  std::vector<std::uint32_t> even_, odd_;
  std::vector<std::int64_t> sum_;
  std::uint64_t counted_ = 0;  // in the first two counters
};

}  // namespace pfc
