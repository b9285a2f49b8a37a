#include "pfc/eval/set_cleaner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/painted_faces.h"
#include "pfc/base/error.h"
#include "ranks.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

CleanReport cleaned(const std::vector<Painted>& faces, const CleanOptions& options,
                    Communicator& comm) {
  Colour network;
  return clean(
      network, [&] { return std::make_unique<PaintedFaces>(faces); }, options, comm);
}

CleanReport cleaned(const std::vector<Painted>& faces, const CleanOptions& options) {
  return cleaned(faces, options, *make_self_communicator());
}

void expect_strangers_duplicates_and_one_person_twice(Communicator& comm) {
  const std::vector<Painted> faces = {
      {0, 90, 20, 0},  {0, 90, -20, 0}, {0, 90, 0, 25},  {0, 0, 0, 90},  // a stranger, like 5
      {2, 0, 90, 20},  {2, 0, 90, -20}, {2, 0, 91, -20},                 // a duplicate
      {3, 0, 0, 0},                                                      // does not decode
      {5, 20, 0, 90},  {5, -20, 0, 90}, {5, 0, 25, 90},  {6, 95, 30, 0},
      {6, 95, -30, 0},    // looks like 0
      {9, -90, -90, 0}};  // alone
  const CleanReport report =
      cleaned(faces, {.far = 0.5, .duplicate = 0.999, .same = 0.95, .batch_size = 4}, comm);
  EXPECT_EQ(report.identities, 5);
  EXPECT_EQ(report.alone, 1);
  EXPECT_EQ(report.not_embedded, 1);
  EXPECT_EQ(report.passed_over, "1 hidden file (.a)");
  ASSERT_EQ(report.far_images.size(), 1u);
  EXPECT_EQ(report.far_images[0].name, "3");
  EXPECT_EQ(report.far_images[0].identity, 0);
  EXPECT_LT(report.far_images[0].cosine, 0.2);
  EXPECT_EQ(report.far_images[0].nearest, 5);
  EXPECT_GT(report.far_images[0].nearest_cosine, 0.95);
  EXPECT_TRUE(report.far_images[0].stranger);
  ASSERT_EQ(report.duplicates.size(), 1u);
  EXPECT_EQ(report.duplicates[0].name, "6");
  EXPECT_EQ(report.duplicates[0].of, "5");
  ASSERT_EQ(report.same.size(), 1u);
  EXPECT_EQ(report.same[0].identity, 0);
  EXPECT_EQ(report.same[0].other, 6);
}

TEST(Clean, FindsStrangersDuplicatesAndOnePersonUnderTwoNames) {
  expect_strangers_duplicates_and_one_person_twice(*make_self_communicator());
}

TEST(RanksClean, ShareTheImagesAndAllFindTheSame) {
  on_ranks(expect_strangers_duplicates_and_one_person_twice);
}

TEST(Clean, TakesWhatAWrongIdentityReachesForFarWhereNothingIsSaid) {
  std::vector<Painted>
      faces;  // six directions: the cosine to a wrong centre is 0 or -1, plus some noise
  for (std::int64_t identity = 0; identity < 6; ++identity) {
    for (int i = 0; i < 30; ++i) {
      Painted face{identity, (7 * i) % 21 - 10, (11 * i) % 21 - 10, (13 * i) % 21 - 10};
      (identity / 2 == 0   ? face.red
       : identity / 2 == 1 ? face.green
                           : face.blue) = identity % 2 == 0 ? 90 : -90;
      faces.push_back(face);
    }
  }
  const CleanReport report = cleaned(faces, {});
  EXPECT_GT(report.far, 0.0);
  EXPECT_LT(report.far, 0.25);
  EXPECT_TRUE(report.far_images.empty());
}

TEST(Clean, StopsWhereTheNetworkTellsNobodyApart) {
  std::vector<Painted> faces;
  for (std::int64_t identity = 0; identity < 70; ++identity)
    faces.insert(faces.end(), 2, {identity, 90, 0, 0});
  EXPECT_THAT(
      [&] { cleaned(faces, {.far = 0.5}); },
      ThrowsMessage<Error>(HasSubstr("more than 2,240 pairs of 70 identities look the same: "
                                     "the network tells nobody apart")));
}

TEST(Clean, IsNotLedByAStrangerAmongFew) {
  // The mean of all three would lie between them; the stranger is kept out of it.
  const CleanReport report =
      cleaned({{0, 90, 0, 0}, {0, -60, 90, 0}, {0, 90, 10, 0}, {1, 0, 0, 90}}, {.far = 0.6});
  ASSERT_EQ(report.far_images.size(), 1u);
  EXPECT_EQ(report.far_images[0].name, "1");
}

TEST(Clean, OfTwoImagesTakesTheOneThatIsLikeAnotherIdentityForTheStranger) {
  const CleanReport report = cleaned(
      {{0, 90, 0, 30}, {0, 0, 90, 0}, {1, 2, 90, 0}, {1, 0, 90, 2}, {2, 50, 0, 90}, {2, 50, 2, 90}},
      {.far = 0.5});
  ASSERT_EQ(report.far_images.size(), 2u);
  EXPECT_FALSE(report.far_images[0].stranger);
  EXPECT_TRUE(report.far_images[1].stranger);
  EXPECT_EQ(report.far_images[1].nearest, 1);
}

TEST(Clean, RefusesAnIdentityThatComesBackBeforeItEmbedsAnything) {
  Colour network;
  const std::vector<Painted> faces = {{0, 9, 0, 0}, {1, 0, 9, 0}, {0, 9, 0, 0}};
  const auto open = [&] { return std::make_unique<PaintedFaces>(faces); };
  EXPECT_THAT([&] { clean(network, open, {}, *make_self_communicator()); },
              ThrowsMessage<Error>(HasSubstr("identity 0 comes back after others")));
  EXPECT_EQ(network.batches, 0);
}

TEST(Clean, RefusesASetWithoutImages) {
  EXPECT_THAT(
      [] {
        cleaned({{0, 0, 0, 0}}, {});
      },
      ThrowsMessage<Error>(HasSubstr("no image of the set can be embedded")));
}

}  // namespace
}  // namespace pfc
