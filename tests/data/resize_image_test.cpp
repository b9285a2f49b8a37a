#include "pfc/data/resize_image.h"

#include <gmock/gmock.h>

#include <cstdint>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Columns of black and white, in turn.
std::vector<std::byte> stripes(int side) {
  RgbImage image{side, side, {}};
  for (int i = 0; i < side * side * 3; ++i) image.pixels.push_back(i / 3 % side % 2 == 0 ? 0 : 255);
  return encode_png(image);
}

TEST(ResizeImage, APixelOfASmallerImageIsTheMeanOfWhatItCovers) {
  const auto small = decode_image(resize_image(stripes(64), {.size = 32, .png = true}));
  EXPECT_EQ(small.width, 32);
  EXPECT_EQ(small.height, 32);
  EXPECT_THAT(small.pixels, Each(testing::AnyOf(127, 128)));
}

TEST(ResizeImage, BackAgainItHasItsSizeAndWhatWasLeft) {
  const auto image =
      decode_image(resize_image(stripes(64), {.size = 16, .back = true, .png = true}));
  EXPECT_EQ(image.width, 64);
  EXPECT_THAT(image.pixels, Each(testing::AnyOf(127, 128)));
}

TEST(ResizeImage, OfItsOwnSizeItStaysAsItWas) {
  const auto bytes = stripes(40);
  EXPECT_EQ(decode_image(resize_image(bytes, {.size = 40, .png = true})).pixels,
            decode_image(bytes).pixels);
}

TEST(ResizeImage, RefusesWhatIsNoSquareOrNoImage) {
  const RgbImage wide{20, 10, std::vector<std::uint8_t>(600, 9)};
  EXPECT_THAT([&] { resize_image(encode_png(wide), {.size = 8}); },
              ThrowsMessage<Error>(HasSubstr("20 x 10 pixels, want a square")));
  const std::vector<std::byte> nothing(10);
  EXPECT_THROW(resize_image(nothing, {.size = 8}), Error);
}

}  // namespace
}  // namespace pfc
