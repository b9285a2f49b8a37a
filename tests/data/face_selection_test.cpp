#include "pfc/data/face_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "data/stream/faces.h"
#include "pfc/base/error.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Faces from memory, named by their index.
class Given final : public FaceSource {
 public:
  explicit Given(std::vector<std::int64_t> identities) : identities_(std::move(identities)) {}
  bool next(Face& face) override {
    if (i_ == identities_.size()) return false;
    face = {identities_[i_], std::to_string(i_), {}};
    ++i_;
    return true;
  }
  StreamProgress progress() const override { return {}; }

 private:
  std::vector<std::int64_t> identities_;
  std::size_t i_ = 0;
};

using Kept = std::pair<std::string, std::int64_t>;

std::vector<Kept> filtered(const std::vector<std::int64_t>& identities, FaceFilter& filter) {
  Given counted(identities);
  for (Face face; counted.next(face);) filter.count(face);
  filter.finish();
  Given source(identities);
  const auto kept = relabelled(source, [&](const Face& face) { return filter.relabel(face); });
  std::vector<Kept> result;
  for (Face face; kept->next(face);) result.emplace_back(face.name, face.identity);
  const auto dropped = std::ssize(identities) - std::ssize(result);
  EXPECT_EQ(
      kept->passed_over(),
      dropped == 0 ? "" : std::to_string(dropped) + " images that have no place in the new set");
  return result;
}

TEST(FaceFilter, DropsWhatIsListedAndThenIdentitiesWithFewImages) {
  FaceFilter filter(
      {.min_images = 2, .max_images = 2, .drop_images = {"3", "none"}, .drop_identities = {5, 9}});
  // Without the fourth image, identity 2 has only one; 5 is listed; the third image of 7 exceeds
  // the limit.
  EXPECT_THAT(filtered({0, 0, 2, 2, 5, 5, 7, 7, 7}, filter),
              ElementsAre(Kept{"0", 0}, Kept{"1", 0}, Kept{"6", 1}, Kept{"7", 1}));
  EXPECT_THAT(filter.kept(), ElementsAre(0, 7));
  EXPECT_EQ(filter.not_found(), 2);
}

TEST(FaceFilter, MakesThoseThatAreTheSameOneBeforeItCountsImages) {
  FaceFilter filter({.min_images = 2,
                     .drop_identities = {7},
                     .same = {{1, 1, 1, 4}, {1, 0, 1, 7}, {1, 99, 1, 0}}});
  EXPECT_THAT(filtered({0, 1, 4, 7, 9, 9}, filter),
              ElementsAre(Kept{"1", 0}, Kept{"2", 0}, Kept{"4", 1}, Kept{"5", 1}));
  EXPECT_THAT(filter.kept(), ElementsAre(1, 9));
}

TEST(FaceFilter, WithoutOptionsOnlyClosesGaps) {
  FaceFilter filter({});
  EXPECT_THAT(filtered({3, 1}, filter), ElementsAre(Kept{"0", 1}, Kept{"1", 0}));
}

TEST(FaceFilter, RefusesToLeaveNothing) {
  FaceFilter filter({.min_images = 2});
  filter.count({.identity = 4});
  EXPECT_THAT([&] { filter.finish(); }, ThrowsMessage<Error>(HasSubstr("no identity is left")));
}

TEST(FaceFilter, ReadsListsByTheFirstFieldOfTheirLines) {
  EXPECT_EQ(parse_identities("3\n17,0.8\n", "ids.txt"), (std::unordered_set<std::int64_t>{3, 17}));
  for (const char* line : {"-1", "x", "1.5", "2147483647"}) {
    const std::string text = std::string("3\n") + line + " \n";
    EXPECT_THAT([&] { parse_identities(text, "ids.txt"); },
                ThrowsMessage<DataError>(HasSubstr("ids.txt: line 2: found \"")));
  }
}

TEST(FaceFilter, FindsImagesByTheirNamesHoweverOddTheseAre) {
  const std::string newline = "a/new\nline.jpg", tab = "a/tab\there.jpg", hash = "#1/a.jpg";
  const std::string list =
      "# broken\n12\t7\tcorrupt JPEG\r\na b/c.jpg,x\n\nSmith, John/1.jpg,blurry\n" +
      list_name(newline) + "\tduplicate\n" + list_name(tab) + "\n" + list_name(hash) +
      "\ndir\\b.jpg\n";
  const ImageNames names = parse_names(list, "drop.txt");
  EXPECT_EQ(names.size(), 7u);
  std::set<std::size_t> found;
  for (const std::string& name :
       {std::string("12"), std::string("a b/c.jpg"), std::string("Smith, John/1.jpg"), newline, tab,
        hash, std::string("dir\\b.jpg")}) {
    ASSERT_TRUE(names.find(name)) << name;
    found.insert(*names.find(name));
  }
  EXPECT_EQ(found.size(), 7u);
  for (const char* name : {"7", "a", "a/new", "a/tab", "broken", "c.jpg"})
    EXPECT_FALSE(names.find(name)) << name;
}

TEST(ListName, IsOneFieldOfOneLineAndTellsNamesApart) {
  EXPECT_EQ(list_name("a b/\xc3\xa9, c.jpg"), "a b/\xc3\xa9, c.jpg");
  std::set<std::string> written;
  const std::vector<std::string> odd = {"a\nb", "a\\nb", "a\tb", "a\rb", "a\x1b[2Jb",
                                        "a ",   " a",    "#a",   "a",    "\x7f"};
  for (const std::string& name : odd) {
    const std::string text = list_name(name);
    EXPECT_EQ(text.find_first_of("\n\t\r\x1b\x7f"), text.npos) << text;
    EXPECT_FALSE(text.starts_with('#') || text.starts_with(' ') || text.ends_with(' ')) << text;
    written.insert(text);
  }
  EXPECT_EQ(written.size(), odd.size());
}

ImageCounts counts_of(const std::vector<std::int64_t>& identities) {
  ImageCounts counts;
  for (const std::int64_t identity : identities) counts.add(identity);
  return counts;
}

TEST(JoinIdentities, NumbersSetsOneAfterAnotherWithoutGaps) {
  const auto numbers = join_identities({counts_of({0, 2, 2}), counts_of({1, 0})}, {});
  EXPECT_THAT(numbers, ElementsAre(ElementsAre(0, -1, 1), ElementsAre(2, 3)));
}

TEST(JoinIdentities, GivesThoseThatAreTheSameOneNumber) {
  const std::vector<SameIdentity> same = {
      {.set = 2, .identity = 0, .other_set = 1, .other_identity = 2},
      {.set = 1, .identity = 0, .other_set = 1, .other_identity = 1},
      {.set = 2, .identity = 2, .other_set = 2, .other_identity = 0}};
  const auto numbers = join_identities({counts_of({0, 1, 2}), counts_of({0, 1, 2})}, same);
  EXPECT_THAT(numbers, ElementsAre(ElementsAre(0, 0, 1), ElementsAre(1, 2, 1)));
}

TEST(JoinIdentities, RefusesAnIdentityThatIsNotThere) {
  for (const SameIdentity& same : {SameIdentity{1, 0, 3, 0}, SameIdentity{0, 0, 1, 0},
                                   SameIdentity{1, 1, 1, 0}, SameIdentity{1, 7, 1, 0}}) {
    EXPECT_THAT(
        [&] {
          join_identities({counts_of({0, 2}), counts_of({0})}, {&same, 1});
        },
        ThrowsMessage<Error>(HasSubstr("has no images")));
  }
}

TEST(JoinIdentities, ReadsPairsAndSaysWhichLineIsWrong) {
  const auto same = parse_same("# a comment\n1,17,2,42\r\n1,3,1,4,0.83\n", "same.csv");
  ASSERT_EQ(same.size(), 2u);
  EXPECT_EQ(same[0].identity, 17);
  EXPECT_EQ(same[0].other_identity, 42);
  EXPECT_EQ(same[1].other_set, 1);
  for (const char* line : {"1,2,3", "1,2,3,x", "1;2;3;4", "1,-2,3,4", "1,2,3,4x"}) {
    EXPECT_THAT([&] { parse_same(line, "same.csv"); },
                ThrowsMessage<DataError>(HasSubstr("same.csv: line 1: found \"")))
        << line;
  }
}

}  // namespace
}  // namespace pfc
