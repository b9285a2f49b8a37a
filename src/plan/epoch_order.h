#pragma once

#include <cstdint>
#include <optional>

#include "base/ceil_divide.h"
#include "pfc/base/random.h"

namespace pfc {

/// Consecutive images of a set.
struct ImageRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// The order in which an epoch visits the images of a set. Each image comes once; the order is a
/// pure function of (seed, epoch).
///
/// Without a window, any image may come at any place. With a window, a file is read in large
/// pieces. The images, beginning at a random one and continuing at the start after the end, are cut
/// into blocks of kBlock. The blocks are put in random order, and only the images of `window`
/// consecutive places are mixed.
class EpochOrder {
 public:
  static constexpr std::int64_t kBlock = 1024;  ///< images; some megabytes in one read

  /// `images` > 0. `window`: how many places are mixed, rounded up to whole blocks; 0: all.
  EpochOrder(std::int64_t images, std::int64_t window, std::uint64_t seed, std::int64_t epoch);

  /// The image at a place in [0, images).
  std::int64_t image(std::int64_t place);

  /// How many blocks an epoch has.
  std::int64_t blocks() const { return ceil_divide(images_, kBlock); }
  /// How many blocks are mixed with each other.
  std::int64_t blocks_in_window() const { return window_ / kBlock; }
  /// The images of a block, if there is a window. `count` may reach beyond the end of the set; then
  /// the block continues at the start.
  ImageRange block(std::int64_t block) const;

 private:
  void enter_window(std::int64_t window);

  std::int64_t images_;
  std::int64_t window_;  ///< images
  std::uint64_t seed_;
  std::int64_t epoch_;
  std::int64_t start_ = 0;  ///< the image with which the first block of the file begins
  std::optional<Permutation>
      block_order_;                   ///< for the whole blocks; a shorter block stays the last
  std::int64_t current_ = -1;         ///< the window that `order_` belongs to
  std::optional<Permutation> order_;  ///< of the window's places, or of all places
};

}  // namespace pfc
