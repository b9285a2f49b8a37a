#include "train/class_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

ClassIdentities plain(std::int64_t classes) {
  return {.classes = classes};
}
ClassIdentities numbered(std::vector<std::int32_t> numbers, std::int64_t below) {
  return {.classes = std::ssize(numbers), .numbers = std::move(numbers), .below = below};
}
ClassIdentities named(std::vector<std::string> names) {
  return {.classes = std::ssize(names), .names = std::move(names)};
}

std::vector<std::int64_t> parsed(const char* text, const ClassIdentities& here,
                                 const ClassIdentities& there) {
  const ClassMap map = parse_class_map(text, "map.txt", here, there);
  EXPECT_EQ(map.unknown, 0) << text;
  return map.there;
}

TEST(ClassMap, NamesTheSavedClassOfEachOrNone) {
  EXPECT_THAT(parsed("# new, old\n0,7\n\n 3 , 2\r\n1\t0\n", plain(5), plain(8)),
              ElementsAre(7, 0, -1, 2, -1));
  EXPECT_THAT(parsed("", plain(2), plain(8)), ElementsAre(-1, -1));
  EXPECT_THAT(parsed("1 1", plain(2), plain(2)), ElementsAre(-1, 1));
}

TEST(ClassMap, ItsNumbersAreTheDatasAndNotThoseOfClasses) {
  const ClassIdentities here = numbered({1, 2, 5}, 7), there = numbered({3, 4, 9}, 10);
  EXPECT_THAT(parsed("1,9\n5,3\n", here, there), ElementsAre(2, -1, 0));
  EXPECT_THAT(parsed("2,1\n", here, plain(2)), ElementsAre(-1, 1, -1));
  const ClassIdentities folders = numbered({0, 1, 10, 11, 2}, 12);  // in the order of their names
  EXPECT_THAT(parsed("0,2\n1,10\n", plain(2), folders), ElementsAre(4, 2));
}

TEST(ClassMap, TakesNamesOfFolders) {
  const ClassIdentities people = named({"Ann", "Lee, Bo", "Z 9"});
  EXPECT_THAT(parsed("0,Lee, Bo\n1,Z 9\n2 Ann\r\n", plain(3), people), ElementsAre(1, 2, 0));
  EXPECT_THAT(parsed("Lee, Bo\tAnn\nZ 9,Lee, Bo\n", people, people), ElementsAre(-1, 0, 1));
}

TEST(ClassMap, TakesNamesThatAreOddAsListsHaveThem) {
  const ClassIdentities people = named({" #1", "a\nb"});
  EXPECT_THAT(parsed(("0," + list_name("a\nb") + "\n1," + list_name(" #1") + "\n").c_str(),
                     plain(2), people),
              ElementsAre(1, 0));
  EXPECT_THAT(same_identities(people, people).there, ElementsAre(0, 1));
}

TEST(ClassMap, CountsIdentitiesThatOneSetLeftOut) {
  const ClassIdentities here = numbered({1, 2, 5}, 7);
  EXPECT_EQ(parse_class_map("0,0\n1,1\n6,2\n", "map.txt", here, plain(3)),
            (ClassMap{.there = {1, -1, -1}, .unknown = 2}));
  EXPECT_EQ(parse_class_map("0,1\n1,4\n2,3\n", "map.txt", plain(3), here),
            (ClassMap{.there = {0, -1, -1}, .unknown = 2}));
  EXPECT_EQ(parse_class_map("0,Ann\n1,Eve\n", "map.txt", plain(3), named({"Ann", "Bo"})),
            (ClassMap{.there = {0, -1, -1}, .unknown = 1}));
}

TEST(ClassMap, SaysTheLineThatIsWrong) {
  const auto expect = [](const char* text, const std::string& sentence) {
    EXPECT_THAT([&] { parse_class_map(text, "map.txt", plain(5), plain(8)); },
                ThrowsMessage<DataError>("map.txt: " + sentence));
  };
  expect("0 0\n1\n", "line 2: want two identities, \"identity, identity there\"");
  expect("a b\n", "line 1: found \"a\", want the number of an identity");
  expect("0,,1\n", "line 1: found \",1\", want the number of an identity");
  expect("5 0\n", "line 1: identity 5, want 0 to 4");
  expect("0 8\n", "line 1: identity 8, want 0 to 7");
  expect("-1 0\n", "line 1: identity -1, want 0 to 4");
  expect("0 1\n0 2\n", "line 2: this identity came before");
  expect("0 1 2\n", "line 1: found \"1 2\", want the number of an identity");
  expect("99999999999999999999 1\n",
         "line 1: found \"99999999999999999999\", want the number of an identity");
}

TEST(ClassMap, ItsFormIsCheckedWithoutTheSets) {
  EXPECT_NO_THROW(require_class_map("# new, old\n\n99,Ann\n99,Bo\n", "map.txt"));
  EXPECT_THAT([] { require_class_map("0 0\n1\n", "map.txt"); },
              ThrowsMessage<DataError>(HasSubstr("map.txt: line 2: want two identities")));
  EXPECT_THROW(require_class_map("<!DOCTYPE html>\n<html lang=en>\n", "map.txt"), DataError);
}

TEST(ClassMap, SameIdentitiesAreThoseThatAreCalledTheSame) {
  const auto same = [](const ClassIdentities& here, const ClassIdentities& there) {
    return same_identities(here, there).there;
  };
  EXPECT_THAT(same(plain(3), plain(2)), ElementsAre(0, 1, -1));
  EXPECT_THAT(same(plain(3), numbered({1, 2, 5}, 7)), ElementsAre(-1, 0, 1));
  EXPECT_THAT(same(numbered({1, 2, 5}, 7), plain(3)), ElementsAre(1, 2, -1));
  EXPECT_THAT(same(numbered({1, 2, 5}, 7), numbered({10, 2, 1}, 11)), ElementsAre(2, 1, -1));
  EXPECT_THAT(same(named({"Ann", "Cy"}), named({"Ann", "Bo", "Cy"})), ElementsAre(0, 2));
  EXPECT_THAT([&] { same(named({"Ann"}), plain(1)); },
              ThrowsMessage<Error>(HasSubstr("this set calls its identities by the names of "
                                             "folders, the other one by numbers")));
}

}  // namespace
}  // namespace pfc
