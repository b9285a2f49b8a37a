#include "data/text_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<std::pair<std::int64_t, std::string>> lines_in(std::string_view text) {
  const std::string name = "list.txt";
  std::vector<std::pair<std::int64_t, std::string>> found;
  for (Lines lines(text, name); lines.next();)
    found.emplace_back(lines.number(), std::string(lines.line()));
  return found;
}

TEST(Lines, AreTheSameHoweverTheyEnd) {
  const auto expected = ElementsAre(std::pair(1, "a b"), std::pair(3, "c\td"));
  for (const std::string text : {"a b\n\nc\td\n", "a b\r\n\r\nc\td\r\n", "a b\r\rc\td\r",
                                 "a b \t\n \nc\td ", "a b\n\nc\td"}) {
    EXPECT_THAT(lines_in(text), expected) << text;
    EXPECT_THAT(lines_in("\xef\xbb\xbf" + text), expected) << text;
  }
  EXPECT_THAT(lines_in(""), ElementsAre());
  EXPECT_THAT(lines_in("\xef\xbb\xbf\n\n"), ElementsAre());
}

TEST(Lines, OfUtf16AreRefusedByName) {
  EXPECT_THAT(
      [] {
        lines_in(
            std::string_view("\xff\xfe"
                             "a\0\n\0",
                             6));
      },
      ThrowsMessage<DataError>(HasSubstr("list.txt: byte 0: UTF-16")));
}

TEST(TextLines, HaveFieldsBetweenTabsOrElseBetweenSpaces) {
  const std::string text = "a b\tc\n  d   e \n", name = "list.txt";
  TextLines lines(std::as_bytes(std::span(text)), name);
  ASSERT_TRUE(lines.next());
  EXPECT_THAT(lines.fields(), ElementsAre("a b", "c"));
  ASSERT_TRUE(lines.next());
  EXPECT_THAT(lines.fields(), ElementsAre("d", "e"));
  EXPECT_FALSE(lines.next());
}

}  // namespace
}  // namespace pfc
