#include "train/class_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(ClassMap, NamesTheSavedClassOfEachOrNone) {
  EXPECT_THAT(parse_class_map("# new, old\n0,7\n\n 3 , 2\r\n1\t0\n", "map.txt", 5, 8),
              ElementsAre(7, 0, -1, 2, -1));
  EXPECT_THAT(parse_class_map("", "map.txt", 2, 8), ElementsAre(-1, -1));
  EXPECT_THAT(parse_class_map("1 1", "map.txt", 2, 2), ElementsAre(-1, 1));
}

TEST(ClassMap, SaysTheLineThatIsWrong) {
  const auto expect = [](const char* text, const std::string& sentence) {
    EXPECT_THAT([&] { parse_class_map(text, "map.txt", 5, 8); },
                ThrowsMessage<DataError>("map.txt: " + sentence));
  };
  expect("0 0\n1\n", "line 2: want two numbers, \"class, class there\"");
  expect("a b\n", "line 1: want two numbers, \"class, class there\"");
  expect("0,,1\n", "line 1: want two numbers, \"class, class there\"");
  expect("5 0\n", "line 1: class 5, want 0 to 4");
  expect("0 8\n", "line 1: class 8, want 0 to 7");
  expect("-1 0\n", "line 1: class -1, want 0 to 4");
  expect("0 1\n0 2\n", "line 2: this class came before");
  expect("0 1 2\n", "line 1: more than two numbers");
  expect("99999999999999999999 1\n", "line 1: want two numbers, \"class, class there\"");
}

}  // namespace
}  // namespace pfc
