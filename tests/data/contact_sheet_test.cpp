#include "pfc/data/contact_sheet.h"

#include <gtest/gtest.h>

#include "pfc/base/error.h"

namespace pfc {
namespace {

RgbImage filled(int width, int height, std::uint8_t value) {
  return {width, height,
          std::vector<std::uint8_t>(static_cast<std::size_t>(3 * width * height), value)};
}

int red(const RgbImage& image, int x, int y) {
  return image.pixels[static_cast<std::size_t>(3 * (y * image.width + x))];
}

TEST(ContactSheet, HasAllImagesInRowsWithGapsBetween) {
  const std::vector<RgbImage> images = {filled(4, 3, 10), filled(4, 3, 20), filled(4, 3, 30)};
  const RgbImage sheet = contact_sheet(images, {.columns = 2, .gap = 2});
  ASSERT_EQ(sheet.width, 4 + 2 + 4);
  ASSERT_EQ(sheet.height, 3 + 2 + 3);
  EXPECT_EQ(sheet.pixels.size(), 3u * 10 * 8);
  EXPECT_EQ(red(sheet, 3, 2), 10);
  EXPECT_EQ(red(sheet, 4, 2), 255);
  EXPECT_EQ(red(sheet, 6, 0), 20);
  EXPECT_EQ(red(sheet, 9, 2), 20);
  EXPECT_EQ(red(sheet, 0, 4), 255);
  EXPECT_EQ(red(sheet, 0, 5), 30);
  EXPECT_EQ(red(sheet, 6, 5), 255);
}

TEST(ContactSheet, OfFewerImagesThanColumnsIsNoWiderThanThey) {
  const std::vector<RgbImage> images = {filled(4, 3, 10)};
  EXPECT_EQ(contact_sheet(images, {.columns = 8}).pixels, images[0].pixels);
}

TEST(ContactSheet, WantsImagesOfOneSize) {
  const std::vector<RgbImage> images = {filled(4, 3, 10), filled(3, 4, 10)};
  EXPECT_THROW(contact_sheet(images, {}), Error);
  EXPECT_THROW(contact_sheet({}, {}), Error);
  EXPECT_THROW(contact_sheet(std::span(images).first(1), {.columns = 0}), Error);
}

}  // namespace
}  // namespace pfc
