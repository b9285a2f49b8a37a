#include "pfc/align/landmark_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

LandmarkFile parsed(const std::string& text) {
  return LandmarkFile::parse(std::as_bytes(std::span(text)), "landmarks.txt");
}

TEST(LandmarkFile, ReadsLinesAndWhatFollowsThemIsNotLookedAt) {
  const std::string text =
      "# a comment\nb/2.jpg 1 2 3 4 5 6 7 8 9.5 -1e1 0.99\r\n\nwith "
      "space.jpg\t0\t0\t1\t1\t2\t2\t3\t3\t4\t4";
  const LandmarkFile file = parsed(text);
  EXPECT_EQ(file.size(), 2);
  ASSERT_TRUE(file.find("b/2.jpg"));
  EXPECT_EQ(file.find("b/2.jpg")->at(4).x, 9.5);
  EXPECT_EQ(file.find("b/2.jpg")->at(4).y, -10);
  EXPECT_EQ(file.find("with space.jpg")->at(3).y, 3);
  EXPECT_FALSE(file.find("2.jpg"));
}

TEST(LandmarkFile, ReadsJson) {
  const TemporaryFolder folder;
  write_text(folder / "landmarks.json",
             " {\"a.jpg\": [[1,2],[3,4],[5,6],[7,8],[9,10.25]], \"b.jpg\": "
             "[[0,0],[0,0],[0,0],[0,0],[0.1,0]]}");
  const LandmarkFile file = LandmarkFile::open(folder / "landmarks.json");
  EXPECT_EQ(file.size(), 2);
  EXPECT_EQ(file.find("a.jpg")->at(4).y, 10.25);
  EXPECT_EQ(file.find("b.jpg")->at(4).x, 0.1);
}

TEST(LandmarkFile, IsRefusedByTheLineOrTheName) {
  const auto fails_with = [](const std::string& text, const std::string& sentence) {
    EXPECT_THAT([&] { parsed(text); }, ThrowsMessage<DataError>(HasSubstr(sentence))) << text;
  };
  fails_with("", "no landmarks");
  fails_with("# nothing\n", "no landmarks");
  fails_with("a.jpg 1 2 3 4 5 6 7 8 9\n", "line 1: found \"a.jpg 1 2 3");
  fails_with("a.jpg 1 2 3 4 5 6 7 8 9 10\nb.jpg 1 2 x 4 5 6 7 8 9 10\n", "line 2: found");
  fails_with("a.jpg 1 2 3 4 5 6 7 8 9 10\na.jpg 1 2 3 4 5 6 7 8 9 10\n", "a.jpg: listed twice");
  fails_with("{\"a.jpg\": [[1,2],[3,4]]}", "a.jpg: want five points");
  fails_with("{\"a.jpg\": [[1,2],[3,4],[5,6],[7,8],[9,null]]}", "want five points");
  fails_with("{\"a.jpg\": ", "JSON: ");
  fails_with("{}", "no landmarks");
}

}  // namespace
}  // namespace pfc
