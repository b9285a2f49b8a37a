#include "pfc/data/verification_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "hex.h"
#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"
#include "temporary_folder.h"
#include "verification_fixtures.h"

namespace pfc {
namespace {

using testing::HasSubstr;

using Bytes = std::vector<std::byte>;
using Image = std::vector<int>;

Image ints(std::span<const std::byte> bytes) {
  Image values;
  for (const std::byte b : bytes) values.push_back(std::to_integer<int>(b));
  return values;
}

std::span<const std::byte> view_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string error_of(std::string_view pickle) {
  try {
    VerificationSet::parse("t.bin", view_of(pickle));
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

using namespace std::string_literals;

std::string repeat(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(VerificationSet, EveryWayOfPicklingASetGivesTheSameSet) {
  for (const PickledSet& pickled : kPickledSets) {
    SCOPED_TRACE(pickled.name);
    const Bytes bytes = from_hex(pickled.hex);
    const VerificationSet set = VerificationSet::parse("t", bytes);
    ASSERT_EQ(set.pairs(), 2);
    EXPECT_EQ(ints(set.image(0)), (Image{0xff, 0xd8, 0x01}));
    EXPECT_EQ(ints(set.image(1)), (Image{'a', '\n', '\\', '\'', 0, 0x1a, '\r'}));
    EXPECT_EQ(ints(set.image(2)), (Image{0x80, 0xff}));
    EXPECT_EQ(ints(set.image(3)), (Image{'f', 'o', 'u', 'r'}));
    EXPECT_TRUE(set.same(0));
    EXPECT_FALSE(set.same(1));
  }
}

TEST(VerificationSet, EveryTruncationIsADataError) {
  for (const PickledSet& pickled : kPickledSets) {
    SCOPED_TRACE(pickled.name);
    const Bytes bytes = from_hex(pickled.hex);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_THROW(VerificationSet::parse("t", std::span(bytes).first(size)), DataError) << size;
    }
  }
}

TEST(VerificationSet, ImagesStayInTheFile) {
  const std::string pickle = "(](U\3abcU\3defe](I01\net.";
  const VerificationSet set = VerificationSet::parse("t", view_of(pickle));
  EXPECT_EQ(set.image(0).data(), view_of(pickle).data() + 5);
  EXPECT_EQ(set.image(1).data(), view_of(pickle).data() + 10);
}

TEST(VerificationSet, OtherGlobalsAreRefusedByName) {
  EXPECT_EQ(error_of("cos\nsystem\n(S'true'\ntR."),
            "t.bin: offset 0: global os.system is not allowed in a verification set");
  EXPECT_EQ(error_of("\x80\x04\x8c\x08"s + "builtins" + "\x8c\x04"s + "eval" + "\x93)R."),
            "t.bin: offset 18: global builtins.eval is not allowed in a verification set");
  EXPECT_THAT(error_of("cnumpy\nload\n."), HasSubstr("numpy.load"));
  EXPECT_THAT(error_of("c\x1b[2J\n" + std::string(1000, 'x') + "\n."),
              HasSubstr("global ?[2J." + std::string(80, 'x') + "... is"));
}

TEST(VerificationSet, OperationsThatBuildOtherObjectsAreRefused) {
  // OBJ, INST, NEWOBJ, NEWOBJ_EX, persistent ids, extensions, sets, out-of-band buffers.
  for (const char operation : "oiPQ\x81\x92\x82\x83\x84\x90\x91\x8f\x97\x98"s) {
    EXPECT_THAT(error_of("\x80\2(N"s + operation),
                HasSubstr("is not allowed in a verification set"));
  }
}

TEST(VerificationSet, AFileOfAnotherKindIsSaidToBeWhatItIs) {
  EXPECT_EQ(error_of("<html><body>Sign in</body></html>"),
            "t.bin: offset 0: found an HTML page, want a verification set, a pickle as lfw.bin is: "
            "a download that needs a login or a confirmation gives a page in place of the file; "
            "download it again");
  EXPECT_THAT(error_of("\x40\0\0\0\0\0\0\0{\"fc.bias\""s),
              HasSubstr("found a safetensors file, want a verification set"));
  EXPECT_THAT(error_of("PK\3\4" + std::string(22, '\0') + "\x0d\0\0\0"s + "file/data.pkl"),
              HasSubstr("found a PyTorch file, want a verification set"));
  EXPECT_THAT(error_of("a.jpg b.jpg 1\n"), HasSubstr("found a text that begins \"a.jpg b.jpg 1\""));
}

TEST(VerificationSet, NothingCanBeCalledButKnownGlobals) {
  EXPECT_THAT(error_of("])R."), HasSubstr("a call of a list"));
  EXPECT_THAT(error_of("cnumpy\nndarray\n)R."), HasSubstr("a call of numpy.ndarray"));
  EXPECT_THAT(error_of("c_codecs\nencode\n(Vx\nVrot13\ntR."), HasSubstr("'latin1' only"));
  EXPECT_THAT(error_of("cnumpy\ndtype\n(VM8\ntR."), HasSubstr("neither of numbers"));
  EXPECT_THAT(error_of("]Nb."), HasSubstr("a state for a list"));
}

TEST(VerificationSet, CountsMustMatch) {
  EXPECT_EQ(error_of("(](U\1aU\1bU\1ce](I01\net."),
            "t.bin: (bins, issame_list): found 3 images and 1 flag, want two images a flag");
  EXPECT_THAT(error_of("(]]t."), HasSubstr("0 images and 0 flags"));
  EXPECT_THAT(error_of("(]t."), HasSubstr("found 1 item, want 2"));
}

TEST(VerificationSet, WrongKindsAreErrorsThatSayWhere) {
  EXPECT_EQ(error_of("(](U\1aVb\ne](I01\net."),
            "t.bin: image 1: found a text, want bytes or a numpy array of uint8");
  EXPECT_EQ(error_of("(]}a]t."),
            "t.bin: image 0: found a dict, want bytes or a numpy array of uint8");
  EXPECT_EQ(error_of("(](U\1aU\1be](K\2et."), "t.bin: flag 0: found 2, want a bool, 0 or 1");
  EXPECT_EQ(error_of("(](U\1aU\1be](Net."), "t.bin: flag 0: found None, want a bool, 0 or 1");
  EXPECT_EQ(error_of("(](U\1aU\1be](G\x3f\xe0\0\0\0\0\0\0et."s),
            "t.bin: flag 0: found 0.5, want a bool, 0 or 1");
  EXPECT_EQ(error_of("N."), "t.bin: (bins, issame_list): found None, want a list or a tuple");
  EXPECT_EQ(error_of("(N]t."), "t.bin: bins: found None, want a list or a tuple");
}

TEST(VerificationSet, FlagsMayBeFractionsInText) {
  const std::string images = "(](U\1aU\1bU\1cU\1de";
  const std::string pickle = images + "(F1.0\nF0.0\nlt.";
  const VerificationSet set = VerificationSet::parse("t.bin", view_of(pickle));
  EXPECT_TRUE(set.same(0));
  EXPECT_FALSE(set.same(1));
  EXPECT_THAT(error_of(images + "(Fx\nF0.0\nlt."), HasSubstr("a malformed number"));
}

TEST(VerificationSet, SizesBeyondTheFileAreErrors) {
  EXPECT_THAT(error_of("B\xff\xff\xff\xff"), HasSubstr("4294967295 bytes"));
  EXPECT_THAT(error_of("\x8e\xff\xff\xff\xff\xff\xff\xff\xff"), HasSubstr("the file ends here"));
  EXPECT_THAT(error_of("\x8b\xff\xff\xff\xff"), HasSubstr("want at most 8"));
  EXPECT_THAT(error_of("Nr\xff\xff\xff\xff."), HasSubstr("memo number 4294967295 out of order"));
  EXPECT_THAT(error_of("\x80\2Np18446744073709551615\n."), HasSubstr("out of order"));
  EXPECT_THAT(error_of("L99999999999999999999L\n."), HasSubstr("a malformed number"));
}

TEST(VerificationSet, ShapesOfArraysMustMatchTheirData) {
  const std::string type = "cnumpy\ndtype\n(Vu1\ntR";
  const auto array = [&](const std::string& shape) {
    return error_of("cnumpy.core.numeric\n_frombuffer\n(U\4four" + type + "(" + shape + "tVC\ntR.");
  };
  EXPECT_THAT(array("K\5"), HasSubstr("5 bytes by its shape, but of 4"));
  EXPECT_THAT(array("I4294967296\nI4294967296\nK\4"), HasSubstr("more than 2^64 bytes"));
  EXPECT_THAT(array("I-4\nI-1\n"), HasSubstr("a malformed shape"));
}

TEST(VerificationSet, StackAndMemoAreChecked) {
  EXPECT_THAT(error_of("\x80\2."), HasSubstr("empty stack"));
  EXPECT_THAT(error_of("N(a."), HasSubstr("empty stack"));
  EXPECT_THAT(error_of("\x80\2Nt."), HasSubstr("without one"));
  EXPECT_THAT(error_of("h\0."s), HasSubstr("memo number 0 was never set"));
  EXPECT_THAT(error_of("Nq\2h\1."), HasSubstr("memo number 1 was never set"));
  EXPECT_THAT(error_of("\x80\2)Na."), HasSubstr("an item for a tuple, want a list"));
  EXPECT_THAT(error_of("\x80\6N."), HasSubstr("pickle protocol 6, want at most 5"));
}

TEST(VerificationSet, DeepNestingDoesNotOverflowTheStack) {
  EXPECT_NE(error_of(repeat("(", 1'000'000)), "");
  EXPECT_NE(error_of("N" + repeat("\x85", 1'000'000) + "."), "");
  EXPECT_NE(error_of(repeat("]", 1'000'000) + repeat("a", 999'999) + "."), "");
}

TEST(VerificationSet, SharedValuesAreNotCopied) {
  // Each tuple holds the one before it ten times: 10^50 items if they were expanded.
  std::string bomb = "(Nt";
  for (char i = 0; i < 50; ++i) {
    const std::string get = std::string("h") + i;
    bomb += std::string("q") + i + "(" + repeat(get, 10) + "t";
  }
  EXPECT_NE(error_of(bomb + "."), "");
  // A list that holds itself.
  EXPECT_EQ(error_of("]q\0h\0ah\0a."s),
            "t.bin: image 0: found a list, want bytes or a numpy array of uint8");
}

TEST(VerificationSet, OneImageMayStandInManyPairs) {
  const std::string pickle = "(](U\3abcq\0"s + repeat("h\0"s, 3) + "e](I01\nI00\net.";
  const VerificationSet set = VerificationSet::parse("t", view_of(pickle));
  EXPECT_EQ(set.pairs(), 2);
  EXPECT_EQ(set.image(3).data(), set.image(0).data());
}

TEST(VerificationSet, IsNamedAfterItsFile) {
  const TemporaryFolder folder;
  write_text(folder / "tiny_set.bin", "(](U\3abcU\3defe](I01\net.");
  VerificationSet set = VerificationSet::open(folder / "tiny_set.bin");
  EXPECT_EQ(set.name(), "tiny_set");
  const VerificationSet moved = std::move(set);
  EXPECT_EQ(ints(moved.image(1)), (Image{'d', 'e', 'f'}));
  EXPECT_THROW(VerificationSet::open(folder / "other.bin"), Error);
}

std::string bin_of(const std::vector<std::byte>& image) {
  std::string size;
  for (int i = 0; i < 4; ++i) size += static_cast<char>(image.size() >> (8 * i));
  const std::string item =
      "B" + size + std::string(reinterpret_cast<const char*>(image.data()), image.size());
  return "(](" + item + item + "e](I01\net.";
}

TEST(VerificationSet, SquareImagesOfAnotherSizeAreResizedAsTheReferenceDoes) {
  RgbImage image{56, 56, {}};
  for (int i = 0; i < 56 * 56; ++i) {
    for (int channel = 0; channel < 3; ++channel)
      image.pixels.push_back(static_cast<std::uint8_t>(4 * (i % 56) + channel));
  }
  std::vector<std::uint8_t> pixels(std::size_t{kFaceSize} * kFaceSize * 3);
  const std::string small = bin_of(encode_png(image));
  VerificationSet::parse("t", view_of(small)).face(0, pixels.data());
  // A ramp of 4 for each pixel becomes a ramp of 2, except at the ends.
  for (int x = 8; x < 104; ++x) {
    const std::size_t at = 3 * (std::size_t{50} * kFaceSize + static_cast<std::size_t>(x));
    EXPECT_NEAR(pixels[at], 2 * x - 1, 1) << x;
    EXPECT_NEAR(pixels[at + 2], 2 * x + 1, 1) << x;
  }

  image = RgbImage{kFaceSize, kFaceSize, std::vector<std::uint8_t>(pixels.size(), 9)};
  const std::string same = bin_of(encode_png(image));
  VerificationSet::parse("t", view_of(same)).face(1, pixels.data());
  EXPECT_EQ(pixels, image.pixels);

  const std::string flat = bin_of(encode_png({4, 2, std::vector<std::uint8_t>(24)}));
  EXPECT_THAT(
      [&] { VerificationSet::parse("t", view_of(flat)).face(0, pixels.data()); },
      testing::ThrowsMessage<Error>("the image is 4 x 2 pixels, want 112 x 112 or another square"));
}

TEST(VerificationSet, ReadsTheSetOfRealFaces) {
  const char* faces = std::getenv("PFC_FACES");
  if (faces == nullptr) GTEST_SKIP() << "PFC_FACES is not set";
  const auto set = VerificationSet::open(std::filesystem::path(faces) / "celeba_val.bin");
  EXPECT_EQ(set.name(), "celeba_val");
  ASSERT_EQ(set.pairs(), 3000);
  int same = 0;
  for (int pair = 0; pair < 3000; ++pair) same += set.same(pair);
  EXPECT_EQ(same, 1500);
  std::vector<std::uint8_t> pixels(std::size_t{kFaceSize} * kFaceSize * 3);
  for (int i = 0; i < 6000; ++i) {
    ASSERT_NO_THROW(decode_image(set.image(i), kFaceSize, kFaceSize, pixels.data())) << i;
  }
}

}  // namespace
}  // namespace pfc
