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

// Made by libjpeg-turbo: 8 x 8 grey 100; 8 x 8 YCCK; 8 x 8 CMYK of RGB (200, 100, 50); 16 x 16
// progressive of RGB (200, 100, 50).
constexpr auto kGreyJpeg =
    "ffd8ffe000104a46494600010100000100010000ffdb004300020101010101020101010202020202040302020202"
    "0504040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc000"
    "0b080008000801011100ffc40014000100000000000000000000000000000007ffc4001410010000000000000000"
    "0000000000000000ffda0008010100003f000f7fffd9";
constexpr auto kYcckJpeg =
    "ffd8ffee000e41646f626500640000000002ffdb0043000201010101010201010102020202020403020202020504"
    "040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affdb004301"
    "020202020202050303050a0706070a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
    "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0affc00014080008000804011100021101031101041100ffc400140001"
    "00000000000000000000000000000009ffc40014100100000000000000000000000000000000ffc4001401010000"
    "0000000000000000000000000000ffc40014110100000000000000000000000000000000ffda000e040100021103"
    "110400003f0036c0903fffd9";
constexpr auto kCmykJpeg =
    "ffd8ffee000e41646f626500640000000000ffdb0043000201010101010201010102020202020403020202020504"
    "040304060506060605060606070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc0001408"
    "00080008044311004d11005911004b1100ffc4001f00000105010101010101000000000000000001020304050607"
    "08090a0bffc400b5100002010303020403050504040000017d010203000411051221314106135161072271143281"
    "91a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a5354"
    "55565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8"
    "a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7"
    "f8f9faffda000e0443004d0059004b00003f00fd20af0fafcc7afdfcafffd9";
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

// Made by libwebp: 3 x 2, lossless; the same with EXIF orientation 6 and as an animation; 8 x 8 of
// RGB (200, 100, 50), lossy.
constexpr auto kWebp =
    "5249464648000000574542505650384c3c0000002f024000002f20a621369f28faf793834cda86bae95d61f37f0d"
    "856c2441fb81accefa27477110f31fe03f64f255b90305691bb0b87b8616d1ff985e";
constexpr auto kTurnedWebp =
    "524946467c00000057454250565038580a000000080000000200000100005650384c3c0000002f024000002f20a6"
    "21369f28faf793834cda86bae95d61f37f0d856c2441fb81accefa27477110f31fe03f64f255b90305691bb0b87b"
    "8616d1ff985e455849461a0000004d4d002a00000008000101120003000000010006000000000000";
constexpr auto kAnimatedWebp =
    "52494646d400000057454250565038580a00000012000000020000010000414e494d06000000000000000000414e"
    "4d4658000000000000000000020000010000640000025650384c3f0000002f024000002f40a46d8327656c826ff4"
    "4ed4b46d04275b34dd9fbb63750401242a6964b1eb2ccf33ff01f2ac240dfe7603856c23c0a17b0d0ee022fa1feb"
    "0d00414e4d4648000000000000000000020000010000640000005650384c2f0000002f024000102720242054f7ec"
    "335c4840a6bcf2c50804d9360318dce47f9ef90f80b4e4b70302495bbced8fe87f7c0900";
constexpr auto kLossyWebp =
    "524946463a00000057454250565038202e000000f001009d012a0800080001402625a00274ba01f80004c80000fe"
    "ae17ff36040cd0fa60ffd26cf136789b3e398000";
// Its pixels, and the pixels after a camera's orientation 6 is undone.
const Pixels kWebpPixels = {200, 100, 50, 1, 2, 3, 255, 0, 7, 0, 9, 80, 40, 50, 60, 90, 91, 92};
const Pixels kTurnedPixels = {0, 9, 80, 200, 100, 50, 40, 50, 60, 1, 2, 3, 90, 91, 92, 255, 0, 7};

void put(Bytes& out, std::uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

/// A bitmap without a palette, bottom row first, as Windows writes it.
Bytes bmp_of(const RgbImage& image, int bits) {
  const auto width = static_cast<std::uint32_t>(image.width);
  const auto height = static_cast<std::uint32_t>(image.height);
  Bytes out = {std::byte{'B'}, std::byte{'M'}};
  put(out, 0, 4), put(out, 0, 4), put(out, 54, 4);
  put(out, 40, 4), put(out, width, 4), put(out, height, 4), put(out, 1, 2);
  put(out, static_cast<std::uint32_t>(bits), 2);
  for (int i = 0; i < 6; ++i) put(out, 0, 4);
  for (int y = image.height - 1; y >= 0; --y) {
    for (int x = 0; x < image.width; ++x) {
      const std::uint8_t* rgb = &image.pixels[3 * static_cast<std::size_t>(y * image.width + x)];
      for (int channel = 2; channel >= 0; --channel) put(out, rgb[channel], 1);
      if (bits == 32) put(out, 7, 1);
    }
    while ((out.size() - 54) % 4 != 0) put(out, 0, 1);
  }
  return out;
}

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

TEST(DecodeImage, CmykAndYcckJpegAreInvertedAsAdobeWritesThem) {
  const auto near = [](const Pixels& pixels, const Pixels& expected) {
    ASSERT_EQ(pixels.size(), 8u * 8 * 3);
    for (std::size_t i = 0; i < pixels.size(); ++i) EXPECT_NEAR(pixels[i], expected[i % 3], 1) << i;
  };
  near(decode_image(from_hex(kYcckJpeg)).pixels, {157, 157, 157});
  near(decode_image(from_hex(kCmykJpeg)).pixels, {200, 100, 50});
}

TEST(DecodeImage, ProgressiveJpegDecodes) {
  const Pixels pixels = decode_image(from_hex(kProgressiveJpeg)).pixels;
  ASSERT_EQ(pixels.size(), 16u * 16 * 3);
  EXPECT_NEAR(pixels[0], 200, 2);
  EXPECT_NEAR(pixels[1], 100, 2);
  EXPECT_NEAR(pixels[2], 50, 2);
}

TEST(DecodeImage, WebpDecodes) {
  EXPECT_EQ(decode_image(from_hex(kWebp)).pixels, kWebpPixels);
  const Pixels lossy = decode_image(from_hex(kLossyWebp)).pixels;
  EXPECT_EQ(Pixels(lossy.begin(), lossy.begin() + 3), (Pixels{201, 100, 48}));
  EXPECT_EQ(error_of(from_hex(kAnimatedWebp)), "an animated WebP, want a still one");
}

TEST(DecodeImage, BmpDecodesExactly) {
  const RgbImage image = gradient(5, 3);
  for (const int bits : {24, 32}) {
    Bytes bmp = bmp_of(image, bits);
    EXPECT_EQ(decode_image(bmp).pixels, image.pixels) << bits;
    bmp[25] = bmp[24] = bmp[23] = std::byte{0xff}, bmp[22] = std::byte{0xfd};  // -3: top row first
    Pixels rows;
    for (int y = 2; y >= 0; --y)
      rows.insert(rows.end(), image.pixels.begin() + 15 * y, image.pixels.begin() + 15 * (y + 1));
    EXPECT_EQ(decode_image(bmp).pixels, rows) << bits;
  }
}

TEST(DecodeImage, PaletteAndMasksOfABmpAreLookedUp) {
  // 9 x 1, 1 bit: red is 0, green is 1.
  Bytes one_bit = bmp_of({1, 1, {0, 0, 0}}, 24);
  one_bit.resize(54);
  one_bit[18] = std::byte{9}, one_bit[28] = std::byte{1}, one_bit[10] = std::byte{62};
  put(one_bit, 0x00ff0000, 4), put(one_bit, 0x0000ff00, 4);
  put(one_bit, 0x8055, 4);  // 0101 0101 1
  const Pixels striped = decode_image(one_bit).pixels;
  for (std::size_t x = 0; x < 9; ++x) {
    const bool green = x == 8 || x % 2 == 1;
    EXPECT_EQ(Pixels(striped.begin() + 3 * x, striped.begin() + 3 * x + 3),
              green ? (Pixels{0, 255, 0}) : (Pixels{255, 0, 0}));
  }
  // 2 x 1, 16 bits: 5 of each colour.
  Bytes high_colour = bmp_of({1, 1, {0, 0, 0}}, 24);
  high_colour.resize(54);
  high_colour[18] = std::byte{2}, high_colour[28] = std::byte{16};
  put(high_colour, 31u << 10 | 15, 2), put(high_colour, 31u << 5, 2);
  EXPECT_EQ(decode_image(high_colour).pixels, (Pixels{255, 0, 123, 0, 255, 0}));
}

TEST(DecodeImage, BmpsThatAreNotReadSayWhy) {
  Bytes bmp = bmp_of(gradient(4, 4), 24);
  const auto with = [&](std::size_t at, int value) {
    Bytes changed = bmp;
    changed[at] = static_cast<std::byte>(value);
    return error_of(changed);
  };
  EXPECT_EQ(with(30, 1), "a BMP with compression 1, want none");
  EXPECT_EQ(with(28, 5), "corrupt BMP: 5 bits a pixel");
  EXPECT_EQ(with(18, 0), "corrupt BMP: a size of 0 x 4");
  EXPECT_EQ(with(22, 5), "corrupt BMP: it ends before its pixels do");
  EXPECT_THAT(with(21, 0x7f), testing::HasSubstr("pixels, want at most 67108864 in all"));
}

/// "Exif" and a directory with the orientation.
std::string exif(int orientation, bool big_endian) {
  std::string tiff = big_endian ? std::string("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19)
                                : std::string("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", 18);
  tiff += static_cast<char>(orientation);
  return std::string("Exif\0\0", 6) + tiff + std::string(8, '\0');
}

Bytes with_exif(const Bytes& jpeg, const std::string& exif) {
  const std::size_t size = exif.size() + 2;
  std::string marker = "\xff\xe1";
  marker += static_cast<char>(size >> 8);
  marker += static_cast<char>(size & 0xff);
  marker += exif;
  Bytes out = jpeg;
  const auto bytes = std::as_bytes(std::span(marker));
  out.insert(out.begin() + 2, bytes.begin(), bytes.end());
  return out;
}

TEST(DecodeImage, ImagesAreTurnedAsExifSays) {
  const RgbImage lying = gradient(24, 16);
  const Bytes jpeg = encode_jpeg(lying, 100);
  const RgbImage decoded = decode_image(jpeg);
  const auto pixel = [](const RgbImage& image, int x, int y) {
    const auto at = image.pixels.begin() + 3 * (std::ptrdiff_t{y} * image.width + x);
    return Pixels(at, at + 3);
  };
  // Where the pixel lies that a viewer shows in the upper left corner, and its right neighbour.
  struct Case {
    int orientation, x, y, right_x, right_y;
  };
  for (const Case& c : {Case{1, 0, 0, 1, 0},
                        {2, 23, 0, 22, 0},
                        {3, 23, 15, 22, 15},
                        {4, 0, 15, 1, 15},
                        {5, 0, 0, 0, 1},
                        {6, 0, 15, 0, 14},
                        {7, 23, 15, 23, 14},
                        {8, 23, 0, 23, 1}}) {
    for (const bool big_endian : {false, true}) {
      const Bytes photo = with_exif(jpeg, exif(c.orientation, big_endian));
      const RgbImage upright = decode_image(photo);
      const bool swapped = c.orientation >= 5;
      EXPECT_EQ(upright.width, swapped ? 16 : 24) << c.orientation;
      EXPECT_EQ(image_size(photo), (ImageSize{upright.width, upright.height}));
      EXPECT_EQ(pixel(upright, 0, 0), pixel(decoded, c.x, c.y)) << c.orientation;
      EXPECT_EQ(pixel(upright, 1, 0), pixel(decoded, c.right_x, c.right_y)) << c.orientation;
      Pixels of_size(upright.pixels.size());
      decode_image(photo, upright.width, upright.height, of_size.data());
      EXPECT_EQ(of_size, upright.pixels);
    }
  }
}

TEST(DecodeImage, ExifOfPngAndWebpTurnsThemToo) {
  const auto png = from_hex(
      "89504e470d0a1a0a0000000d49484452000000030000000208020000001216f14d0000001a655849664d4d002a00"
      "000008000101120003000000010006000000000000d6674b690000001c49444154789c63389162c4c8c4fc9f819d"
      "9181334043f38d91a602002fd5047da47367900000000049454e44ae426082");
  for (const Bytes& encoded : {png, from_hex(kTurnedWebp)}) {
    EXPECT_EQ(image_size(encoded), (ImageSize{2, 3}));
    EXPECT_EQ(decode_image(encoded).pixels, kTurnedPixels);
  }
}

TEST(DecodeImage, ExifThatIsCutOffOrSaysNothingTurnsNothing) {
  const Bytes jpeg = encode_jpeg(gradient(24, 16), 90);
  const Pixels lying = decode_image(jpeg).pixels;
  const std::string whole = exif(6, true);
  for (std::size_t size = 0; size + 9 < whole.size(); ++size)
    EXPECT_EQ(decode_image(with_exif(jpeg, whole.substr(0, size))).pixels, lying) << size;
  for (const int orientation : {0, 9, 255})
    EXPECT_EQ(decode_image(with_exif(jpeg, exif(orientation, true))).pixels, lying) << orientation;
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

TEST(DecodeImage, EveryTruncationIsAnErrorOrLosesNoPixel) {
  for (const Bytes& whole :
       {encode_jpeg(gradient(33, 17), 90), from_hex(kProgressiveJpeg), encode_png(gradient(16, 16)),
        from_hex(kWebp), bmp_of(gradient(4, 3), 24)}) {
    const Pixels pixels = decode_image(whole).pixels;
    std::size_t decoded = 0;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto cut = std::span(whole).first(size);
      if (!error_of(cut).empty()) continue;
      ++decoded;
      EXPECT_EQ(decode_image(cut).pixels, pixels) << size << " of " << whole.size();
    }
    constexpr std::size_t kEnd = 24;  // of a PNG: its end chunk and two sums
    EXPECT_LE(decoded, kEnd);
  }
}

TEST(DecodeImage, ImagesWithoutTheirEndMarkerHaveAllTheirPixels) {
  const auto without = [](const Bytes& whole, std::size_t end) {
    return decode_image(std::span(whole).first(whole.size() - end)).pixels;
  };
  for (const Bytes& jpeg : {encode_jpeg(gradient(33, 17), 90), from_hex(kProgressiveJpeg)}) {
    EXPECT_EQ(without(jpeg, 1), decode_image(jpeg).pixels);
    EXPECT_EQ(without(jpeg, 2), decode_image(jpeg).pixels);
  }
  const RgbImage image = gradient(16, 16);
  EXPECT_EQ(without(encode_png(image), 12), image.pixels);
}

TEST(DecodeImage, TruncatedJpegSaysSo) {
  const Bytes whole = encode_jpeg(gradient(112, 112), 90);
  EXPECT_EQ(error_of(std::span(whole).first(whole.size() / 2)),
            "corrupt JPEG: Premature end of JPEG file");
}

TEST(DecodeImage, StrayBytesBeforeAJpegsEndMarkerLoseNothing) {
  for (const Bytes& whole : {encode_jpeg(gradient(33, 17), 90), from_hex(kProgressiveJpeg)}) {
    for (const auto stray : {std::byte{0}, std::byte{0x5a}}) {
      Bytes jpeg = whole;
      jpeg.insert(jpeg.end() - 2, 20, stray);
      EXPECT_EQ(decode_image(jpeg).pixels, decode_image(whole).pixels);
    }
  }
}

TEST(DecodeImage, PixelsThatAJpegLostAreAnError) {
  Bytes jpeg = encode_jpeg(gradient(64, 64), 90);
  jpeg.erase(jpeg.end() - 60, jpeg.end() - 2);  // and its end marker is there
  EXPECT_THAT(error_of(jpeg), testing::HasSubstr("premature end of data segment"));
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

TEST(DecodeImage, OtherFormatsAreRefusedByName) {
  const auto refusal = [](const std::string& found) {
    return "no image that is read, found " + found + ", want JPEG, PNG, WebP or BMP";
  };
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  EXPECT_EQ(error_of(from_hex("4749463839617000")), refusal("a GIF image"));
  EXPECT_EQ(error_of(from_hex("49492a0008000000")), refusal("a TIFF image"));
  EXPECT_EQ(error_of(from_hex("000000186674797068656963")), refusal("a HEIC image"));
  EXPECT_EQ(error_of(bytes("version https://git-lfs.github.com/spec/v1")),
            refusal("a pointer of Git LFS in place of the file") +
                "; fetch the file itself with `git lfs pull`");
  EXPECT_EQ(error_of({}), "the image is empty");
}

TEST(DecodeImage, OneImageDoesNotReachTheNext) {
  const Bytes whole = encode_jpeg(gradient(16, 16), 90);
  const Pixels expected = decode_image(whole).pixels;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    error_of(std::span(whole).first(size));
    ASSERT_EQ(decode_image(whole).pixels, expected) << size;
  }
  // A JPEG without its own quantisation tables must not be decoded with those of another.
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
