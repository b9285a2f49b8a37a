#include "pfc/data/set_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/record_bytes.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::HasSubstr;

std::vector<std::byte> grey_png(std::uint8_t grey, int size = 112) {
  return encode_png(
      {size, size,
       std::vector<std::uint8_t>(
           3 * static_cast<std::size_t>(size) * static_cast<std::size_t>(size), grey)});
}

TEST(SetSummary, CountsImagesIdentitiesAndWhatTheyAre) {
  SetSummary summary;
  const auto png = grey_png(7), small = grey_png(7, 96), other = bytes_of("no image");
  for (int i = 0; i < 5; ++i) summary.add({0, "a", png});
  summary.add({1, "b", small});
  summary.add({3, "c", other});
  EXPECT_EQ(summary.images(), 7);
  EXPECT_EQ(summary.identities(), 3);
  const auto json = nlohmann::json::parse(summary.json());
  EXPECT_EQ(json["labels_without_an_image"], 1);
  EXPECT_EQ(json["images_an_identity"]["least"], 1);
  EXPECT_EQ(json["images_an_identity"]["most"], 5);
  EXPECT_EQ(json["histogram"]["1"], 2);
  EXPECT_EQ(json["histogram"]["5-8"], 1);
  EXPECT_EQ(json["kinds"]["PNG 112 x 112"], 5);
  EXPECT_EQ(json["kinds"]["PNG 96 x 96"], 1);
  EXPECT_EQ(json["unreadable"], 1);
  EXPECT_EQ(json["bytes"], 5 * png.size() + small.size() + other.size());
  EXPECT_THAT(summary.text(), HasSubstr("7 images of 3 identities, 1 label without an image"));
  EXPECT_THAT(summary.text(), HasSubstr("5-8            1"));
  EXPECT_THAT(summary.text(), HasSubstr("\n1 whose header cannot be read\n"));
}

TEST(SetSummary, WritesNumbersAndSizesAsEverywhere) {
  SetSummary summary;
  const std::vector<std::byte> image(1500);
  for (int i = 0; i < 1807; ++i) summary.add({0, "a", image});
  EXPECT_THAT(summary.text(),
              HasSubstr("images an identity: 1,807 to 1,807, median 1,807, mean 1807.00\n"
                        "size: 2.7 MB, an image 1.5 kB to 1.5 kB, mean 1.5 kB\n"));
}

TEST(SetSummary, ShowsARowOfEachOfSomeIdentities) {
  SetSummary summary;
  for (int identity = 0; identity < 40; ++identity) {
    const auto image = grey_png(static_cast<std::uint8_t>(identity));
    for (int i = 0; i < 10; ++i) summary.add({identity, "", image});
  }
  const RgbImage sheet = summary.sheet();
  EXPECT_EQ(sheet.width, 8 * 112 + 7 * 2);
  EXPECT_EQ(sheet.height, 12 * 112 + 11 * 2);
  std::vector<int> shown;
  for (int row = 0; row < 12; ++row)
    shown.push_back(sheet.pixels[static_cast<std::size_t>(3 * sheet.width * row * 114)]);
  std::ranges::sort(shown);
  EXPECT_EQ(std::ranges::adjacent_find(shown), shown.end());  // twelve different ones
  EXPECT_GT(shown.back(), 20);                                // not the first twelve
}

TEST(SetSummary, ShowsEachPlaceOfItsSheetAsItIsAskedTo) {
  SetSummary summary;
  const auto image = grey_png(9), broken = bytes_of("no image");
  for (int identity = 0; identity < 2; ++identity)
    for (int i = 0; i < 3; ++i) summary.add({identity, "", i == 1 ? broken : image});
  const RgbImage sheet = summary.sheet([](auto encoded, std::size_t place) {
    RgbImage shown = decode_image(encoded);
    std::ranges::fill(shown.pixels, static_cast<std::uint8_t>(place));
    return shown;
  });
  std::vector<int> shown;
  for (int row = 0; row < 2; ++row)
    for (int column = 0; column < 4; ++column)
      shown.push_back(
          sheet.pixels[static_cast<std::size_t>(3 * 114 * (row * sheet.width + column))]);
  EXPECT_THAT(shown, testing::ElementsAre(0, 255, 2, 255, 8, 255, 10, 255));
}

TEST(SetSummary, OfNothingIsRefused) {
  EXPECT_THROW((void)SetSummary().text(), Error);
  EXPECT_THROW((void)SetSummary().sheet(), Error);
}

}  // namespace
}  // namespace pfc
