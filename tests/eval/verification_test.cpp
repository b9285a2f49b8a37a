#include "pfc/eval/verification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

using testing::HasSubstr;

struct Pair {
  double distance;  ///< squared, 0 to 4
  bool same;
};

/// Unit vectors in the plane at those distances.
PairEmbeddings at_distances(const std::vector<Pair>& pairs) {
  PairEmbeddings embeddings{.set = "set", .dim = 2, .originals = {}, .mirrored = {}, .same = {}};
  for (const Pair& pair : pairs) {
    const double cosine = 1 - pair.distance / 2;
    const double sine = std::sqrt(1 - cosine * cosine);
    embeddings.originals.insert(embeddings.originals.end(),
                                {1, 0, static_cast<float>(cosine), static_cast<float>(sine)});
    embeddings.same.push_back(pair.same);
  }
  embeddings.mirrored = embeddings.originals;
  return embeddings;
}

/// A genuine and an impostor pair, `count` times.
std::vector<Pair> alternating(int count, double genuine, double impostor) {
  std::vector<Pair> pairs;
  for (int i = 0; i < count; ++i) {
    pairs.push_back({genuine, true});
    pairs.push_back({impostor, false});
  }
  return pairs;
}

std::string refusal(const PairEmbeddings& embeddings) {
  try {
    verify(embeddings);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Verification, SeparatedPairsArePerfect) {
  const VerificationResult result = verify(at_distances(alternating(10, 0.505, 1.505)));
  EXPECT_EQ(result.accuracy, 1);
  EXPECT_EQ(result.accuracy_deviation, 0);
  EXPECT_EQ(result.area, 1);
  EXPECT_EQ(result.equal_error_rate, 0);
  EXPECT_EQ(result.pairs(), 20);
}

TEST(Verification, TheFirstOfTheBestThresholdsIsTaken) {
  // Every threshold from 0.51 to 1.50 is perfect.
  EXPECT_DOUBLE_EQ(verify(at_distances(alternating(10, 0.505, 1.505))).best_threshold, 0.51);
}

TEST(Verification, AFoldIsJudgedByTheOtherNine) {
  std::vector<Pair> pairs = alternating(10, 0.505, 1.505);
  pairs[6] = {1.505, true};  // fold 3 is judged wrongly
  pairs[7] = {0.505, false};
  const VerificationResult result = verify(at_distances(pairs));
  EXPECT_EQ(result.fold_accuracies, (std::array<double, 10>{1, 1, 1, 0, 1, 1, 1, 1, 1, 1}));
  EXPECT_DOUBLE_EQ(result.accuracy, 0.9);
  EXPECT_DOUBLE_EQ(result.accuracy_deviation, 0.3);  // population: √(0.9 · 0.1)
}

TEST(Verification, FoldsThatDoNotDivideAreLargerFirst) {
  std::vector<Pair> pairs = alternating(12, 0.505, 1.505);
  pairs.pop_back();            // 23 pairs: folds of 3, 3, 3, 2, 2 …
  pairs[8].distance = 1.505;   // the last pair of fold 2
  pairs[21].distance = 0.505;  // the first pair of fold 9
  const VerificationResult result = verify(at_distances(pairs));
  EXPECT_DOUBLE_EQ(result.fold_accuracies[2], 2.0 / 3);
  EXPECT_DOUBLE_EQ(result.fold_accuracies[3], 1);
  EXPECT_DOUBLE_EQ(result.fold_accuracies[8], 1);
  EXPECT_DOUBLE_EQ(result.fold_accuracies[9], 0.5);
}

TEST(Verification, SameIsStrictlyBelowTheThreshold) {
  // Orthogonal vectors have a distance of exactly 2.00; opposite ones have 4, which no threshold
  // reaches.
  const VerificationResult result = verify(at_distances(alternating(10, 2, 4)));
  EXPECT_DOUBLE_EQ(result.best_threshold, 2.01);
  EXPECT_EQ(result.accuracy, 1);
}

TEST(Verification, ValInterpolatesBetweenThresholds) {
  // FAR is 0 at 1.500 and 1 at 1.501, so 1e-3 is reached at 1.500001.
  EXPECT_EQ(verify(at_distances(alternating(10, 1.5000005, 1.5005))).val, 1);
  EXPECT_EQ(verify(at_distances(alternating(10, 1.500002, 1.5005))).val, 0);
}

TEST(Verification, ValIsZeroWhereTheFarIsNotReached) {
  const VerificationResult result = verify(at_distances(alternating(10, 0.5, 4)));
  EXPECT_EQ(result.val, 0);
  EXPECT_EQ(result.val_far, 0);
  EXPECT_EQ(result.operating_points[0].tar, 1);
}

TEST(Verification, ValLeavesOutFoldsWithoutGenuinePairs) {
  std::vector<Pair> pairs(10, {0.5, true});
  pairs.resize(20, {1.5005, false});  // genuine pairs fill the first five folds
  const VerificationResult result = verify(at_distances(pairs));
  EXPECT_EQ(result.val, 1);
  EXPECT_EQ(result.val_far, 0);
}

TEST(Verification, OriginalAndMirrorAreAdded) {
  PairEmbeddings embeddings = at_distances(alternating(10, 0.505, 1.505));
  for (std::size_t pair = 0; pair < 20; ++pair) {  // second image: (1, 0) + (0, 1), at 45 degrees
    float* const second = &embeddings.originals[4 * pair + 2];
    float* const mirrored = &embeddings.mirrored[4 * pair + 2];
    second[0] = 1, second[1] = 0, mirrored[0] = 0, mirrored[1] = 1;
  }
  EXPECT_NEAR(verify(embeddings).roc.points()[1].threshold, -(2 - std::sqrt(2.0)), 1e-12);
}

TEST(Verification, XNormIsTakenBeforeTheSum) {
  PairEmbeddings embeddings = at_distances(alternating(10, 1, 2));
  for (float& value : embeddings.originals) value *= 3;
  for (float& value : embeddings.mirrored) value *= -1;
  EXPECT_NEAR(verify(embeddings).xnorm, 2, 1e-6);
}

TEST(Verification, ASumOfZeroStaysZero) {
  PairEmbeddings embeddings = at_distances(alternating(10, 0.5, 1.5));
  std::ranges::fill(embeddings.originals, 0.f);
  std::ranges::fill(embeddings.mirrored, 0.f);
  const VerificationResult result = verify(embeddings);
  EXPECT_EQ(result.xnorm, 0);
  EXPECT_EQ(result.roc.points()[1].threshold, 0);
  EXPECT_EQ(result.accuracy, 0.5);
}

TEST(Verification, LengthsOfEmbeddingsDoNotMatter) {
  const PairEmbeddings embeddings = at_distances(alternating(10, 0.77, 1.21));
  PairEmbeddings scaled = embeddings;
  for (auto* values : {&scaled.originals, &scaled.mirrored}) {
    for (float& value : *values) value *= 1024;
  }
  EXPECT_EQ(verify(scaled).best_threshold, verify(embeddings).best_threshold);
  EXPECT_EQ(verify(scaled).roc.points()[1].threshold, verify(embeddings).roc.points()[1].threshold);
}

TEST(Verification, TheOrderWithinAPairDoesNotMatter) {
  const CounterRandom random(9, RandomStream::kMirror);
  PairEmbeddings embeddings{.set = "set", .dim = 3, .originals = {}, .mirrored = {}, .same = {}};
  for (std::uint64_t i = 0; i < 50; ++i) {
    embeddings.same.push_back(random.below(2, 0, i) == 1);
    for (std::uint64_t k = 0; k < 6; ++k) {
      embeddings.originals.push_back(static_cast<float>(random.below(100, 1, 6 * i + k)));
      embeddings.mirrored.push_back(static_cast<float>(random.below(100, 2, 6 * i + k)));
    }
  }
  PairEmbeddings swapped = embeddings;
  for (auto* values : {&swapped.originals, &swapped.mirrored}) {
    for (auto pair = values->begin(); pair != values->end(); pair += 6) {
      std::swap_ranges(pair, pair + 3, pair + 3);
    }
  }
  const VerificationResult one = verify(embeddings), other = verify(swapped);
  EXPECT_EQ(one.fold_accuracies, other.fold_accuracies);
  EXPECT_EQ(one.area, other.area);
}

TEST(Verification, NamesTheFirstImageThatIsNotFinite) {
  PairEmbeddings embeddings = at_distances(alternating(10, 0.5, 1.5));
  embeddings.originals[2 * 9] = std::numeric_limits<float>::infinity();
  embeddings.mirrored[2 * 7 + 1] = std::nanf("");
  EXPECT_EQ(refusal(embeddings),
            "set: image 7: the embedding of its mirror image holds a value that is not finite");
}

TEST(Verification, RefusesSetsWithoutAMeasure) {
  EXPECT_EQ(refusal(at_distances({{0.5, true}, {1.5, false}})),
            "set: 2 pairs: want at least 10, one a fold");
  EXPECT_THAT(refusal(at_distances(std::vector<Pair>(10, {0.5, true}))), HasSubstr("both kinds"));
  EXPECT_THAT(refusal(at_distances(std::vector<Pair>(10, {0.5, true}))),
              HasSubstr("set: pairs: all 10 are of one person"));
  PairEmbeddings ragged = at_distances(alternating(10, 0.5, 1.5));
  ragged.mirrored.pop_back();
  EXPECT_THAT(refusal(ragged), HasSubstr("80 and 79 values for 20 pairs of size 2"));
}

TEST(VerificationJson, HoldsTheMeasures) {
  std::vector<Pair> pairs = alternating(10, 0.505, 1.505);
  pairs[1].distance =
      0.25;  // an impostor scores highest, so there is no TAR without a false accept
  const VerificationResult result = verify(at_distances(pairs));
  const std::string json = to_json(std::span(&result, 1));
  EXPECT_THAT(json, HasSubstr("\"set\": \"set\""));
  EXPECT_THAT(json, HasSubstr("\"accuracy\": 0.95"));
  EXPECT_THAT(json, HasSubstr("\"best_threshold\": 0.51"));
  EXPECT_THAT(json, HasSubstr("\"distance\": null"));
}

}  // namespace
}  // namespace pfc
