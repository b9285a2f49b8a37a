#include "pfc/data/synthetic_face.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "data/face/head_view.h"
#include "data/face/traits.h"

namespace pfc {
namespace {

/// Mean absolute difference of two images' values.
double distance(const RgbImage& a, const RgbImage& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i) {
    sum += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
  }
  return sum / static_cast<double>(a.pixels.size());
}

TEST(SyntheticFace, IsAPureFunctionOfSeedIdentityAndImage) {
  const RgbImage face = synthetic_face(1, 2, 3);
  EXPECT_EQ(face.width, kFaceSize);
  EXPECT_EQ(face.height, kFaceSize);
  ASSERT_EQ(face.pixels.size(), std::size_t{3} * kFaceSize * kFaceSize);
  EXPECT_EQ(synthetic_face(1, 2, 3).pixels, face.pixels);
  EXPECT_GT(distance(synthetic_face(2, 2, 3), face), 5);
  EXPECT_GT(distance(synthetic_face(1, 3, 3), face), 5);
  EXPECT_GT(distance(synthetic_face(1, 2, 4), face), 5);
}

TEST(SyntheticFace, EveryIdentityAndImageCanBeDrawn) {
  for (const std::int64_t identity : {std::int64_t{0}, (std::int64_t{1} << 32) - 1}) {
    for (const std::int64_t image : {std::int64_t{0}, (std::int64_t{1} << 31) - 1}) {
      EXPECT_EQ(synthetic_face(~std::uint64_t{0}, identity, image).pixels.size(),
                std::size_t{3} * kFaceSize * kFaceSize);
    }
  }
}

TEST(SyntheticFace, WhatBelongsToTheIdentityDoesNotDependOnTheImage) {
  const face::Identity one = face::draw_identity(0, 7), again = face::draw_identity(0, 7);
  const face::Identity other = face::draw_identity(0, 8);
  EXPECT_EQ(one.eyes.spacing, again.eyes.spacing);
  EXPECT_EQ(one.hair.strands, again.hair.strands);
  EXPECT_NE(one.eyes.spacing, other.eyes.spacing);
  EXPECT_NE(one.hair.strands, other.hair.strands);
  EXPECT_NE(face::draw_conditions(0, 7, 0).yaw, face::draw_conditions(0, 7, 1).yaw);
}

TEST(SyntheticFace, EyesAndMouthLieWhereTheFieldAlignsThem) {
  for (std::int64_t identity = 0; identity < 50; ++identity) {
    SCOPED_TRACE(identity);
    const face::Identity who = face::draw_identity(0, identity);
    const face::HeadView view(who, face::draw_conditions(0, identity, 0));
    const auto expect_near = [&](float x, float y, float want_x, float want_y) {
      const auto pixel = view.pixel(view.project(x, y, 0));
      EXPECT_NEAR(pixel.real(), want_x, 14);
      EXPECT_NEAR(pixel.imag(), want_y, 14);
    };
    expect_near(-who.eyes.spacing, who.eyes.level, 38.3f, 51.7f);
    expect_near(who.eyes.spacing, who.eyes.level, 73.5f, 51.5f);
    expect_near(0, who.mouth.level, 56.1f, 92.3f);
  }
}

TEST(SyntheticFace, LookingAtAProjectedPointFindsThePoint) {
  const face::Identity who = face::draw_identity(3, 4);
  const face::HeadView view(who, face::draw_conditions(3, 4, 5));
  for (const auto& [x, y] : {std::pair(0.0f, 0.0f), {-0.4f, -0.1f}, {0.4f, -0.1f}, {0.2f, 0.8f}}) {
    const auto seen = view.project(x, y, 0);
    const face::Hit hit = view.look(seen.real(), seen.imag(), 1);
    EXPECT_NEAR(hit.head.x, x, 0.02f);
    EXPECT_NEAR(hit.head.y, y, 0.02f);
    EXPECT_GT(hit.inside, 0);
  }
}

}  // namespace
}  // namespace pfc
