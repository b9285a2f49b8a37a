#include "pfc/align/align.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Landmarks moved(const Landmarks& points, double scale, double angle, double x, double y) {
  Landmarks result = points;
  for (Point& p : result) {
    p = {scale * (std::cos(angle) * p.x - std::sin(angle) * p.y) + x,
         scale * (std::sin(angle) * p.x + std::cos(angle) * p.y) + y};
  }
  return result;
}

Point applied(const AffineMap& map, const Point& p) {
  return {map[0][0] * p.x + map[0][1] * p.y + map[0][2],
          map[1][0] * p.x + map[1][1] * p.y + map[1][2]};
}

double error_of(const AffineMap& map, const Landmarks& from, const Landmarks& to) {
  double sum = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const Point p = applied(map, from[i]);
    sum += std::pow(p.x - to[i].x, 2) + std::pow(p.y - to[i].y, 2);
  }
  return sum;
}

TEST(Similarity, UndoesARotationScaleAndShift) {
  const AffineMap map = similarity(moved(kFaceTemplate, 2.5, 0.7, 300, -40));
  for (const Point& p : moved(kFaceTemplate, 2.5, 0.7, 300, -40)) {
    const Point back = applied(map, p);
    bool found = false;
    for (const Point& q : kFaceTemplate)
      found = found || (std::abs(back.x - q.x) < 1e-9 && std::abs(back.y - q.y) < 1e-9);
    EXPECT_TRUE(found);
  }
}

TEST(Similarity, HasTheLeastSumOfSquares) {
  Landmarks face = moved(kFaceTemplate, 1.4, -0.3, 20, 30);
  face[2].x += 9;
  face[4].y -= 6;
  const AffineMap best = similarity(face);
  const double least = error_of(best, face, kFaceTemplate);
  for (const double step : {-1e-3, 1e-3}) {
    AffineMap other = best;  // another angle or scale, or shift
    other[0][0] += step, other[1][1] += step;
    EXPECT_GT(error_of(other, face, kFaceTemplate), least);
    other = best;
    other[0][1] -= step, other[1][0] += step;
    EXPECT_GT(error_of(other, face, kFaceTemplate), least);
    other = best;
    other[0][2] += step;
    EXPECT_GT(error_of(other, face, kFaceTemplate), least);
  }
}

TEST(AlignFace, ScalesTheTemplateWithTheSize) {
  // At twice the size a pixel of the picture becomes four.
  RgbImage picture{kFaceSize, kFaceSize, {}};
  for (int i = 0; i < 3 * kFaceSize * kFaceSize; ++i)
    picture.pixels.push_back(static_cast<std::uint8_t>(i * 7 % 251));
  const RgbImage face = align_face(picture, kFaceTemplate, 2 * kFaceSize);
  ASSERT_EQ(face.width, 2 * kFaceSize);
  ASSERT_EQ(face.height, 2 * kFaceSize);
  ASSERT_EQ(face.pixels.size(), 4 * picture.pixels.size());
  for (std::size_t y = 0; y < kFaceSize; ++y) {
    for (std::size_t x = 0; x < 3 * kFaceSize; ++x) {
      const std::size_t at = 3 * kFaceSize * y + x;
      const std::size_t large = 6 * kFaceSize * (2 * y) + 6 * (x / 3) + x % 3;
      ASSERT_EQ(face.pixels[large], picture.pixels[at]) << x << " " << y;
    }
  }
  EXPECT_EQ(face_template(kFaceSize)[2].x, kFaceTemplate[2].x);
}

TEST(Landmarks, ThatCannotPlaceAFaceAreRefusedWithTheReason) {
  const ImageSize size{250, 250};
  const auto fails_with = [&](const Landmarks& landmarks, const std::string& sentence) {
    EXPECT_THAT([&] { require_usable(landmarks, size); },
                ThrowsMessage<Error>(HasSubstr(sentence)));
  };
  EXPECT_NO_THROW(require_usable(kFaceTemplate, size));
  Landmarks profile = kFaceTemplate;  // the eyes one behind the other
  profile[1].x = profile[0].x + 3;
  EXPECT_NO_THROW(require_usable(profile, size));
  Landmarks bad = kFaceTemplate;
  bad[3].y = std::nan("");
  fails_with(bad, "is not finite");
  bad = kFaceTemplate;
  bad[0].x = 380;
  fails_with(bad, "landmark (380.0, 51.7) lies outside of the picture of 250 x 250");
  bad[0].x = -126;
  fails_with(bad, "lies outside");
  fails_with({{{9, 9}, {9, 9}, {9, 9}, {9, 9}, {9, 9}}}, "coincide");
  fails_with({{{10, 10}, {20, 20}, {30, 30}, {40, 40}, {50, 50}}}, "lie on one line");
}

/// Photos that InsightFace's tools have aligned.
class RealPhotos : public testing::Test {
 protected:
  struct Photo {
    std::string name;
    RgbImage picture, face;
    Landmarks landmarks;
    AffineMap map;  // as scikit-image estimates it, in float32
  };

  void SetUp() override {
    if (std::getenv("PFC_FACES") == nullptr)
      GTEST_SKIP() << "PFC_FACES does not name the folder of real faces";
    folder_ = std::filesystem::path(std::getenv("PFC_FACES")) / "align";
    std::ifstream list(folder_ / "landmarks.txt");
    for (std::string line; std::getline(list, line);) {
      std::istringstream fields(line);
      Photo& photo = photos_.emplace_back();
      fields >> photo.name;
      for (Point& point : photo.landmarks) fields >> point.x >> point.y;
      for (auto& row : photo.map)
        for (double& value : row) fields >> value;
      ASSERT_FALSE(fields.fail()) << line;
      photo.picture = read(photo.name);
      photo.face =
          read(std::filesystem::path(photo.name).replace_extension(".aligned.png").string());
    }
    ASSERT_EQ(photos_.size(), 20u);
  }
  RgbImage read(const std::string& name) const {
    const MappedFile file(folder_ / name);
    return decode_image(file.bytes());
  }
  /// [256] how many values of two images differ by 0, 1, 2, …
  static std::vector<int> differences(const RgbImage& a, const RgbImage& b) {
    std::vector<int> counts(256);
    EXPECT_EQ(a.pixels.size(), b.pixels.size());
    for (std::size_t i = 0; i < a.pixels.size(); ++i)
      ++counts[static_cast<std::size_t>(std::abs(int{a.pixels[i]} - int{b.pixels[i]}))];
    return counts;
  }

  std::filesystem::path folder_;
  std::vector<Photo> photos_;
};

TEST_F(RealPhotos, HaveTheSimilaritiesOfTheFieldsTools) {
  for (const Photo& photo : photos_) {
    const AffineMap map = similarity(photo.landmarks);
    for (std::size_t row = 0; row < 2; ++row) {
      for (std::size_t column = 0; column < 3; ++column) {
        const double want = photo.map[row][column];
        EXPECT_NEAR(map[row][column], want, 1e-5 * std::max(1.0, std::abs(want))) << photo.name;
      }
    }
  }
}

TEST_F(RealPhotos, BecomeTheFieldsFacesUnderTheFieldsMatrix) {
  for (const Photo& photo : photos_) {
    const auto counts = differences(warp_face(photo.picture, photo.map), photo.face);
    EXPECT_EQ(std::accumulate(counts.begin() + 2, counts.end(), 0), 0) << photo.name;
  }
}

/// OpenCV rounds a pixel's place to 1/32. The matrices differ by 1e-5; where they fall on different
/// sides of a rounding limit, an edge may show it.
TEST_F(RealPhotos, BecomeTheFieldsFacesFromTheirLandmarks) {
  int off_by_more_than_one = 0;
  for (const Photo& photo : photos_) {
    const auto counts = differences(align_face(photo.picture, photo.landmarks), photo.face);
    EXPECT_EQ(std::accumulate(counts.begin() + 3, counts.end(), 0), 0) << photo.name;
    off_by_more_than_one += counts[2];
  }
  RecordProperty("off_by_two", off_by_more_than_one);
  EXPECT_LE(off_by_more_than_one, 8);  // of 752,640 values
}

}  // namespace
}  // namespace pfc
