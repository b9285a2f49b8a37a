#include "pfc/eval/sub_center_cleaner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/painted_faces.h"
#include "head/center_format.h"
#include "pfc/base/error.h"
#include "pfc/head/center_file.h"
#include "pfc/head/center_table.h"
#include "ranks.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// A checkpoint's centres of colours: class i has `centers_a_class` consecutive ones.
class SubCenters {
 public:
  SubCenters(const std::vector<std::vector<float>>& colours, std::int64_t centers_a_class,
             const ClassIdentities& identities) {
    CenterTable table(ClassShard(identities.classes, 0, 1).of_centers(centers_a_class), {.dim = 3});
    for (std::size_t i = 0; i < colours.size(); ++i)
      table.weights()[static_cast<std::int64_t>(i)].copy_(torch::tensor(colours[i]));
    save_centers(table, identities, folder_ / center_file_name(0, 1));
  }
  std::filesystem::path path() const { return folder_ / "."; }

 private:
  TemporaryFolder folder_;
};

/// Class 0 is identity 4: red, green; class 1 is identity 7: blue, red.
SubCenters two_classes() {
  return {{{2, 0, 0}, {0, 3, 0}, {0, 0, 1}, {1, 0, 0}},
          /*centers_a_class=*/2,
          {.classes = 2, .numbers = {4, 7}, .below = 8}};
}

SubCenterReport cleaned(const SubCenters& centers, const std::vector<Painted>& faces,
                        const SubCenterOptions& options = {.degrees = 75},
                        Communicator* comm = nullptr) {
  Colour network;
  const auto self = make_self_communicator();
  return clean_by_sub_centers(
      network, centers.path(), [&] { return std::make_unique<PaintedFaces>(faces); }, options,
      comm == nullptr ? *self : *comm);
}

const std::vector<Painted> kFaces = {{4, 10, 90, 0}, {4, -10, 90, 0},
                                     {4, 0, 90, 0},   // near the second centre, the dominant one
                                     {4, 90, 0, 0},   // at the other one
                                     {4, 80, 40, 0},  // nearest to the other one; 63 degrees
                                     {4, 0, 0, 0},    // does not decode
                                     {5, 0, 90, 0},   // the run left this identity out
                                     {7, 90, 0, 10},  // one image at each centre: the first counts
                                     {7, 0, 0, 90}};

void expect_far_from_the_dominant_center(Communicator& comm) {
  const SubCenterReport report = cleaned(two_classes(), kFaces, {.degrees = 75}, &comm);
  EXPECT_EQ(report.identities, 2);
  EXPECT_EQ(report.images, 7);
  EXPECT_EQ(report.at_dominant, 4);
  EXPECT_EQ(report.not_embedded, 1);
  EXPECT_EQ(report.unknown, 1);
  EXPECT_EQ(report.centers_a_class, 2);
  ASSERT_EQ(report.far.size(), 2u);
  EXPECT_EQ(report.far[0].name, "3");
  EXPECT_EQ(report.far[0].identity, 4);
  EXPECT_NEAR(report.far[0].degrees, 90, 1);
  EXPECT_EQ(report.far[0].nearest, 0);
  EXPECT_EQ(report.far[0].dominant, 1);
  EXPECT_EQ(report.far[1].name, "7");
}

TEST(CleanBySubCenters, FindsImagesFarFromTheirIdentitysDominantCentre) {
  expect_far_from_the_dominant_center(*make_self_communicator());
}

TEST(RanksCleanBySubCenters, ShareTheImagesAndAllFindTheSame) {
  on_ranks(expect_far_from_the_dominant_center);
}

TEST(CleanBySubCenters, KeepsWhatIsWithinTheAngle) {
  const SubCenterReport report = cleaned(two_classes(), kFaces, {.degrees = 60});
  ASSERT_EQ(report.far.size(), 3u);
  EXPECT_EQ(report.far[1].name, "4");
  EXPECT_NEAR(report.far[1].degrees, 63.4, 1);
  EXPECT_TRUE(cleaned(two_classes(), kFaces, {.degrees = 95}).far.empty());
}

TEST(CleanBySubCenters, FindsAClassByItsIdentityAlone) {
  const SubCenters plain({{1, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 1, 0}}, 2, {.classes = 2});
  EXPECT_EQ(cleaned(plain, {{1, 0, 90, 0}, {2, 9, 0, 0}}).unknown, 1);
  EXPECT_TRUE(cleaned(plain, {{1, 0, 90, 0}, {2, 9, 0, 0}}).far.empty());
  const SubCenters named({{1, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 1, 0}}, 2,
                         {.classes = 2, .names = {"12", "3"}});
  // PaintedFaces calls an identity by its number.
  EXPECT_TRUE(cleaned(named, {{3, 0, 90, 0}, {12, 90, 0, 0}}).far.empty());
}

TEST(CleanBySubCenters, RefusesARunWithoutSubCentresAndAnotherSet) {
  const SubCenters plain({{1, 0, 0}, {0, 1, 0}}, 1, {.classes = 2});
  EXPECT_THAT([&] { cleaned(plain, kFaces); },
              ThrowsMessage<Error>(HasSubstr("its classes have one centre each")));
  const SubCenters centers = two_classes();
  EXPECT_THAT(
      [&] {
        cleaned(centers, {{0, 90, 0, 0}});
      },
      ThrowsMessage<Error>(HasSubstr("has no centres of the set's identities")));
}

}  // namespace
}  // namespace pfc
