#include "pfc/data/image_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "hex.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using Bytes = std::vector<std::byte>;
using Pixels = std::vector<std::uint8_t>;

RgbImage gradient(int width, int height) {
  RgbImage image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<std::uint8_t>(2 * x));
      image.pixels.push_back(static_cast<std::uint8_t>(2 * y));
      image.pixels.push_back(static_cast<std::uint8_t>(x + y));
    }
  }
  return image;
}

std::string error_of(std::span<const std::byte> encoded) {
  try {
    decode_image(encoded);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Made by libjpeg-turbo: 8 x 8 grey 100; 8 x 8 CMYK; 16 x 16 progressive of RGB (200, 100, 50).
constexpr auto kGreyJpeg =
    "ffd8ffe000104a46494600010100000100010000ffdb004300020101010101020101010202020202040302020202"
    "0504040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc000"
    "0b080008000801011100ffc40014000100000000000000000000000000000007ffc4001410010000000000000000"
    "0000000000000000ffda0008010100003f000f7fffd9";
constexpr auto kCmykJpeg =
    "ffd8ffee000e41646f626500640000000002ffdb0043000201010101010201010102020202020403020202020504"
    "040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affdb004301"
    "020202020202050303050a0706070a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
    "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0affc00014080008000804011100021101031101041100ffc400140001"
    "00000000000000000000000000000009ffc40014100100000000000000000000000000000000ffc4001401010000"
    "0000000000000000000000000000ffc40014110100000000000000000000000000000000ffda000e040100021103"
    "110400003f0036c0903fffd9";
constexpr auto kProgressiveJpeg =
    "ffd8ffe000104a46494600010100000100010000ffdb004300020101010101020101010202020202040302020202"
    "0504040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affdb00"
    "4301020202020202050303050a0706070a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
    "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0affc20011080010001003011100021101031101ffc40015000101"
    "00000000000000000000000000000004ffc4001501010100000000000000000000000000000007ffda000c030100"
    "021003100000019e576c007fffc40014100100000000000000000000000000000020ffda00080101000105021fff"
    "c40014110100000000000000000000000000000020ffda0008010301013f011fffc4001411010000000000000000"
    "0000000000000020ffda0008010201013f011fffc40014100100000000000000000000000000000020ffda000801"
    "0100063f021fffc40014100100000000000000000000000000000020ffda0008010100013f211fffda000c030100"
    "02000300000010000fffc40014110100000000000000000000000000000020ffda0008010301013f101fffc40014"
    "110100000000000000000000000000000020ffda0008010201013f101fffc4001410010000000000000000000000"
    "0000000020ffda0008010100013f101fffd9";

TEST(DecodeImage, DecodesAJpegNearTheImageItWasMadeOf) {
  const RgbImage image = gradient(112, 112);
  Pixels pixels(image.pixels.size());
  decode_image(encode_jpeg(image, 95), 112, 112, pixels.data());
  int worst = 0;
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    worst = std::max(worst, std::abs(int{pixels[i]} - int{image.pixels[i]}));
  }
  EXPECT_LE(worst, 8);
}

TEST(DecodeImage, PngRoundTripIsExact) {
  const RgbImage image = gradient(37, 5);
  const RgbImage decoded = decode_image(encode_png(image));
  EXPECT_EQ(decoded.width, 37);
  EXPECT_EQ(decoded.height, 5);
  EXPECT_EQ(decoded.pixels, image.pixels);
}

TEST(DecodeImage, GreyJpegBecomesRgb) {
  EXPECT_EQ(decode_image(from_hex(kGreyJpeg)).pixels, Pixels(8 * 8 * 3, 100));
}

TEST(DecodeImage, CmykJpegIsRefusedByName) {
  EXPECT_THAT(error_of(from_hex(kCmykJpeg)), testing::HasSubstr("CMYK"));
}

TEST(DecodeImage, ProgressiveJpegDecodes) {
  const Pixels pixels = decode_image(from_hex(kProgressiveJpeg)).pixels;
  ASSERT_EQ(pixels.size(), 16u * 16 * 3);
  EXPECT_NEAR(pixels[0], 200, 2);
  EXPECT_NEAR(pixels[1], 100, 2);
  EXPECT_NEAR(pixels[2], 50, 2);
}

// Every PNG below was put together chunk by chunk from the PNG specification.
TEST(DecodeImage, AlphaOfAPngIsDropped) {
  const auto png = from_hex(
      "89504e470d0a1a0a0000000d4948445200000002000000010806000000f4227f8a000000114944415478da63f8cf"
      "c0c0c0c8c4dc0000089101869c115a110000000049454e44ae426082");
  EXPECT_EQ(decode_image(png).pixels, (Pixels{255, 0, 0, 1, 2, 3}));
}

TEST(DecodeImage, OneBitPngBecomesRgb) {
  const auto png = from_hex(
      "89504e470d0a1a0a0000000d4948445200000002000000010100000000dc5942270000000a4944415478da636800"
      "0000820081da45083b0000000049454e44ae426082");
  EXPECT_EQ(decode_image(png).pixels, (Pixels{255, 255, 255, 0, 0, 0}));
}

TEST(DecodeImage, SixteenBitGreyPngBecomesEightBitRgb) {
  const auto png = from_hex(
      "89504e470d0a1a0a0000000d494844520000000200000001100000000081d9fc150000000d4944415478da631032"
      "f9ff1f0003e60245f11c84650000000049454e44ae426082");
  EXPECT_EQ(decode_image(png).pixels, (Pixels{0x12, 0x12, 0x12, 255, 255, 255}));
}

TEST(DecodeImage, PaletteOfAPngIsLookedUp) {
  const auto png = from_hex(
      "89504e470d0a1a0a0000000d4948445200000002000000010803000000c3fc8fb800000006504c5445c864320908"
      "073720e0950000000174524e530040e6d8660000000b4944415478da63606400000005000242c2449f00000000"
      "49454e44ae426082");
  EXPECT_EQ(decode_image(png).pixels, (Pixels{9, 8, 7, 200, 100, 50}));
}

TEST(DecodeImage, GammaOfAPngIsIgnored) {
  const auto png = from_hex(
      "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000467414d41000186a031"
      "e8965f0000000a4944415478da63f00500004f004ec4037be10000000049454e44ae426082");
  EXPECT_EQ(decode_image(png).pixels, Pixels(3, 77));
}

TEST(DecodeImage, EveryTruncationIsAnError) {
  for (const Bytes& whole : {encode_jpeg(gradient(32, 32), 90), from_hex(kProgressiveJpeg),
                             encode_png(gradient(16, 16))}) {
    ASSERT_EQ(error_of(whole), "");
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_NE(error_of(std::span(whole).first(size)), "") << size << " of " << whole.size();
    }
  }
}

TEST(DecodeImage, TruncatedJpegSaysSo) {
  const Bytes whole = encode_jpeg(gradient(112, 112), 90);
  EXPECT_EQ(error_of(std::span(whole).first(whole.size() / 2)),
            "corrupt JPEG: Premature end of JPEG file");
}

TEST(DecodeImage, BytesLeftOverBeforeAMarkerAreAnError) {
  Bytes jpeg = encode_jpeg(gradient(32, 32), 90);
  jpeg.insert(jpeg.end() - 2, 10, std::byte{0});
  EXPECT_THAT(error_of(jpeg), testing::HasSubstr("extraneous bytes"));
}

TEST(DecodeImage, BytesAfterTheEndAreHarmless) {
  for (Bytes whole : {encode_jpeg(gradient(32, 32), 90), encode_png(gradient(16, 16))}) {
    whole.resize(whole.size() + 100);
    EXPECT_EQ(error_of(whole), "");
  }
}

TEST(DecodeImage, FlippedBitOfAPngIsAnError) {
  Bytes png = encode_png(gradient(16, 16));
  png[png.size() / 2] ^= std::byte{1};
  EXPECT_THAT(error_of(png), testing::StartsWith("corrupt PNG: "));
}

TEST(DecodeImage, AnotherSizeIsAnErrorThatSaysBoth) {
  Pixels pixels(112 * 112 * 3);
  for (const Bytes& encoded : {encode_jpeg(gradient(96, 112), 90), encode_png(gradient(96, 112))}) {
    EXPECT_THAT([&] { decode_image(encoded, 112, 112, pixels.data()); },
                testing::ThrowsMessage<Error>("the image is 96 x 112 pixels, want 112 x 112"));
  }
}

TEST(DecodeImage, HugeImageIsRefusedBeforeItsMemoryIsTaken) {
  Bytes jpeg = from_hex(kGreyJpeg);
  const std::size_t frame = 20 + 69;  // after SOI, APP0 and DQT
  ASSERT_EQ(jpeg[frame + 1], std::byte{0xc0});
  for (std::size_t i = frame + 5; i < frame + 9; ++i) jpeg[i] = std::byte{0xf0};  // 61,680 x 61,680
  EXPECT_THAT(error_of(jpeg), testing::HasSubstr("61680 x 61680 pixels, want at most 67108864"));

  const auto png = from_hex(
      "89504e470d0a1a0a0000000d494844520001000000010000080000000049ef6f3f000000024944415478dafd1b75"
      "8e");
  EXPECT_THAT(error_of(png), testing::HasSubstr("65536 x 65536 pixels, want at most 67108864"));
}

TEST(DecodeImage, OtherFormatsAreRefused) {
  EXPECT_EQ(error_of(from_hex("474946383961")), "neither a JPEG nor a PNG image");
  EXPECT_EQ(error_of({}), "the image is empty");
}

TEST(DecodeImage, OneImageDoesNotReachTheNext) {
  const Bytes whole = encode_jpeg(gradient(16, 16), 90);
  const Pixels expected = decode_image(whole).pixels;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(std::span(whole).first(size)), "");
    ASSERT_EQ(decode_image(whole).pixels, expected) << size;
  }
  // Without its own quantisation tables a JPEG must not be decoded with another's.
  Bytes damaged = whole;
  for (std::size_t i = 0; i + 1 < damaged.size(); ++i) {
    const bool table = damaged[i] == std::byte{0xff} && damaged[i + 1] == std::byte{0xdb};
    if (table) damaged[i + 1] = std::byte{0xfe};  // now a comment
  }
  EXPECT_NE(error_of(damaged), "");
}

TEST(DecodeImage, JpegOfTablesOnlyIsAnError) {
  EXPECT_NE(error_of(from_hex("ffd8ffd9")), "");
}

TEST(EncodeImage, RefusesPixelsOfAnotherSize) {
  RgbImage image = gradient(4, 4);
  image.pixels.pop_back();
  EXPECT_THROW(encode_png(image), Error);
  EXPECT_THROW(encode_jpeg(image, 90), Error);
  EXPECT_THROW(encode_png(RgbImage{}), Error);
}

}  // namespace
}  // namespace pfc
