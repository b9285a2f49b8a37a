#include "plan/epoch_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <set>
#include <vector>

namespace pfc {
namespace {

constexpr std::int64_t kBlock = EpochOrder::kBlock;

std::vector<std::int64_t> images_of(EpochOrder order, std::int64_t images) {
  std::vector<std::int64_t> result;
  for (std::int64_t place = 0; place < images; ++place) result.push_back(order.image(place));
  return result;
}

TEST(EpochOrder, VisitsEveryImageOnceForAnyWindowAndSize) {
  for (const std::int64_t images : {std::int64_t{1}, std::int64_t{700}, kBlock, 5 * kBlock,
                                    5 * kBlock + 1, 9 * kBlock - 1, 10 * kBlock + 13}) {
    for (const std::int64_t window :
         {std::int64_t{0}, std::int64_t{1}, 2 * kBlock, 3 * kBlock + 5, 20 * kBlock}) {
      for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        auto seen = images_of(EpochOrder(images, window, 7, epoch), images);
        std::ranges::sort(seen);
        std::vector<std::int64_t> all(static_cast<std::size_t>(images));
        std::iota(all.begin(), all.end(), 0);
        ASSERT_EQ(seen, all) << images << " images, window " << window << ", epoch " << epoch;
      }
    }
  }
}

TEST(EpochOrder, DiffersBetweenEpochsAndSeedsAndIsOtherwiseTheSame) {
  const std::int64_t images = 8 * kBlock;
  const auto one = images_of(EpochOrder(images, 2 * kBlock, 1, 0), images);
  EXPECT_EQ(images_of(EpochOrder(images, 2 * kBlock, 1, 0), images), one);
  EXPECT_NE(images_of(EpochOrder(images, 2 * kBlock, 1, 1), images), one);
  EXPECT_NE(images_of(EpochOrder(images, 2 * kBlock, 2, 0), images), one);
  // Places may be requested in any order.
  EpochOrder backwards(images, 2 * kBlock, 1, 0);
  for (std::int64_t place = images; place-- > 0;)
    ASSERT_EQ(backwards.image(place), one[static_cast<std::size_t>(place)]);
}

TEST(EpochOrder, TakesTheImagesOfAWindowFromItsBlocks) {
  const std::int64_t images = 10 * kBlock + 100;
  EpochOrder order(images, 3 * kBlock, 5, 2);
  ASSERT_EQ(order.blocks(), 11);
  ASSERT_EQ(order.blocks_in_window(), 3);
  for (std::int64_t window = 0; window * 3 < order.blocks(); ++window) {
    std::set<std::int64_t> of_blocks, seen;
    for (std::int64_t b = 3 * window; b < std::min<std::int64_t>(3 * window + 3, 11); ++b) {
      const ImageRange range = order.block(b);
      for (std::int64_t i = 0; i < range.count; ++i) of_blocks.insert((range.first + i) % images);
    }
    for (std::int64_t place = window * 3 * kBlock;
         place < std::min(images, (window + 1) * 3 * kBlock); ++place)
      seen.insert(order.image(place));
    EXPECT_EQ(seen, of_blocks) << window;
  }
}

TEST(EpochOrder, MixesTheBlocksOfAWindow) {
  const std::int64_t images = 64 * kBlock;
  EpochOrder order(images, 16 * kBlock, 3, 0);
  // Neighbours in the order are neighbours in the file about once in 8,000 cases.
  std::int64_t neighbours = 0, last = order.image(0);
  for (std::int64_t place = 1; place < images; ++place) {
    const std::int64_t image = order.image(place);
    neighbours += std::abs(image - last) == 1 ? 1 : 0;
    last = image;
  }
  EXPECT_LT(neighbours, 40);
}

}  // namespace
}  // namespace pfc
