// What must hold of the protocol, on embeddings that are made by hand.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "identification.h"

namespace {

Identification identify(std::vector<float> rows, std::vector<std::string> names) {
  return ::identify(*pfc::make_features(std::move(rows), 2, std::move(names)));
}

TEST(Identification, TheFirstImageOfEachPersonIsEnrolled) {
  const auto found = identify({1, 0, 0, 1, 1, 0, 0, 1, 1, 0}, {"a/1", "b/1", "a/2", "b/2", "a/3"});
  EXPECT_EQ(found.people, 2);
  EXPECT_EQ(found.probes, 3);
  EXPECT_EQ(found.correct, 3);
}

TEST(Identification, AProbeThatIsNearerToAnotherPersonIsWrong) {
  const auto found = identify({1, 0, 0, 1, 1, 2, 2, 1}, {"a/1", "b/1", "a/2", "a/3"});
  EXPECT_EQ(found.correct, 1);
}

TEST(Identification, LengthsDoNotCount) {
  const auto found = identify({1, 0, 0, 100, 2, 1, 3, 4}, {"a/1", "b/1", "a/2", "b/2"});
  EXPECT_EQ(found.correct, 2);
}

TEST(Identification, OnePictureOfEachPersonLeavesNoProbe) {
  EXPECT_EQ(identify({1, 0, 0, 1}, {"a/1", "b/1"}).probes, 0);
}

}  // namespace
