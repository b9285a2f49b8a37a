#include "pfc/data/pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/data/verification_set.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<ImagePair> parse(const std::string& text) {
  return parse_pairs(std::as_bytes(std::span(text)), "pairs.txt");
}

TEST(Pairs, OfLfwAreNamesAndNumbersInFolds) {
  const auto pairs = parse(
      "2\t1\nAaron_A\t1\t4\nBob\t2\tCarl_C\t13\r\n"
      "Dora\t3\t5\nEve\t1\tFay\t1\n");
  ASSERT_EQ(pairs.size(), 4u);
  EXPECT_EQ(pairs[0].first, "Aaron_A/Aaron_A_0001");
  EXPECT_EQ(pairs[0].second, "Aaron_A/Aaron_A_0004");
  EXPECT_TRUE(pairs[0].same);
  EXPECT_EQ(pairs[1].second, "Carl_C/Carl_C_0013");
  EXPECT_FALSE(pairs[1].same);
  EXPECT_TRUE(pairs[2].same);
  EXPECT_EQ(pairs[3].line, 5);
  EXPECT_EQ(parse("1\nAaron_A\t1\t4\nBob\t2\tCarl_C\t13\n").size(), 2u);  // pairsDevTest.txt
}

TEST(Pairs, MayBeAPlainListOfPaths) {
  const auto pairs = parse("a/1.jpg b/2.jpg 0\nwith space.jpg\tc.png\t1\n");
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].second, "b/2.jpg");
  EXPECT_FALSE(pairs[0].same);
  EXPECT_EQ(pairs[1].first, "with space.jpg");
  EXPECT_TRUE(pairs[1].same);
}

std::vector<std::string> as_text(const std::vector<ImagePair>& pairs) {
  std::vector<std::string> lines;
  for (const ImagePair& pair : pairs)
    lines.push_back(pair.first + "|" + pair.second + "|" + (pair.same ? "1" : "0"));
  return lines;
}

TEST(Pairs, OfEveryFormOfTheFieldAreTheSamePairs) {
  const auto listed = testing::ElementsAre("a/1.jpg|a/2.jpg|1", "a/1.jpg|b/1.jpg|0");
  for (const char* text :
       {"a/1.jpg a/2.jpg 1\na/1.jpg b/1.jpg 0\n",
        "\xef\xbb\xbf"
        "a/1.jpg\ta/2.jpg\t1 \r\na/1.jpg\tb/1.jpg\t-1",
        "a/1.jpg,a/2.jpg,True\na/1.jpg,b/1.jpg,False\n",
        "file1,file2,same\na/1.jpg, a/2.jpg, 1\na/1.jpg, b/1.jpg, 0\n",
        "1 a/1.jpg a/2.jpg\n0 a/1.jpg b/1.jpg\n", "a/1.jpg 3\na/2.jpg 3\na/1.jpg 0\nb/1.jpg 0\n",
        "a/1.jpg\t1\na/2.jpg\t1\n\na/1.jpg\t0\nb/1.jpg\t0\n"}) {
    EXPECT_THAT(as_text(parse(text)), listed) << text;
  }
  const auto named = testing::ElementsAre("A_B/A_B_0001|A_B/A_B_0004|1", "A_B/A_B_0002|C/C_0013|0");
  for (const char* text :
       {"1\t1\nA_B\t1\t4\nA_B\t2\tC\t13\n", "1 1\r\nA_B 1 4 \r\nA_B 2 C 13",
        "A_B 1 4\nA_B 2 C 13\n", "name,imagenum1,imagenum2,\nA_B,1,4,\nA_B,2,C,13\n"}) {
    EXPECT_THAT(as_text(parse(text)), named) << text;
  }
}

TEST(Pairs, AreRefusedByTheirLine) {
  const auto fails_with = [](const std::string& text, const std::string& sentence) {
    EXPECT_THAT([&] { parse(text); }, ThrowsMessage<DataError>(HasSubstr(sentence))) << text;
  };
  fails_with("", "no pairs");
  fails_with("a b 2\n", "line 1: found \"a b 2\", want \"PATH1 PATH2 SAME\"");
  fails_with("a b 1\nc d\n", "line 2: found \"c d\"");
  fails_with("1\t1\nA\t1\n", "line 2: found \"A\\t1\", want \"NAME I J\"");
  fails_with("1\t1\nA\t1\t2\nB\t1\t2\n", "line 3: found \"B\\t1\\t2\", want \"NAME1 I NAME2 J\"");
  fails_with("1\t1\nA\t1\t2\n", "this is the last of 1");
  fails_with("1\t1\nA\t1\t2\nB\t1\tC\t1\nD\t1\t2\n", "line 4");
  fails_with("0\t5\n", "FOLDS PAIRS");
  fails_with("a b\n", "FOLDS PAIRS");
  fails_with("x,y\nz,w\n", "line 1: found \"x,y\"");
  fails_with("a.jpg 1\nb.jpg 0\n", "line 2: found \"b.jpg 0\", want \"PATH SAME\" with SAME as in");
  fails_with("a.jpg 1\nb.jpg 1\nc.jpg 1\n",
             "line 3: found \"c.jpg 1\", want a line for the second");
}

TEST(Pairs, PackIntoAVerificationSet) {
  const TemporaryFolder folder;
  write_text(folder / "lfw/Ann/Ann_0001.jpg", "ann1");
  write_text(folder / "lfw/Ann/Ann_0002.png", "ann2");
  write_text(folder / "lfw/Bob/Bob_0001.jpg", "bob1");
  write_text(folder / "pairs.txt", "1\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\n");
  pack_pairs(folder / "pairs.txt", folder / "lfw", folder / "lfw.bin", [](auto, auto) {});
  const auto set = VerificationSet::open(folder / "lfw.bin");
  ASSERT_EQ(set.pairs(), 2);
  EXPECT_TRUE(set.same(0));
  EXPECT_FALSE(set.same(1));
  EXPECT_EQ(text_of(set.image(1)), "ann2");
  EXPECT_EQ(text_of(set.image(3)), "bob1");

  std::filesystem::remove(folder / "lfw/Bob/Bob_0001.jpg");
  EXPECT_THAT(
      [&] {
        pack_pairs(folder / "pairs.txt", folder / "lfw", folder / "x.bin", [](auto, auto) {});
      },
      ThrowsMessage<Error>(
          AllOf(HasSubstr("pairs.txt: 1 of 4 images is not there: "),
                HasSubstr("Bob/Bob_0001 in line 3; paths begin in " + (folder / "lfw").string()))));
  EXPECT_FALSE(std::filesystem::exists(folder / "x.bin"));
}

}  // namespace
}  // namespace pfc
