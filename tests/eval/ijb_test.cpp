#include "pfc/eval/ijb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "pfc/base/error.h"
#include "pfc/formats/npy.h"
#include "python.h"

namespace pfc {
namespace {

using testing::DoubleEq;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::ThrowsMessage;

IjbImages images_of(std::vector<std::int32_t> templates, std::vector<std::int32_t> media,
                    std::vector<float> scores) {
  IjbImages images;
  images.names.resize(templates.size(), "x.jpg");
  images.templates = std::move(templates);
  images.media = std::move(media);
  images.scores = std::move(scores);
  return images;
}

std::unique_ptr<Features> rows(std::vector<float> values, std::int64_t dim) {
  const auto count = static_cast<std::int64_t>(values.size()) / dim;
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(std::to_string(i) + ".jpg");
  return make_features(std::move(values), dim, names);
}

TEST(Templates, AreSumsOverMediaOfTheMeanWithinEach) {
  // Template 4: medium 1 has (2, 0) and (4, 0), mean (3, 0); medium 2 has (0, 4): (3, 4) / 5.
  const IjbImages images = images_of({4, 9, 4, 4}, {1, 1, 2, 1}, {1, 1, 1, 1});
  const auto features = rows({2, 0, 0, -7, 0, 4, 4, 0}, 2);
  const IjbTemplates templates = pool_templates(images, *features, {});
  EXPECT_THAT(templates.ids, ElementsAre(4, 9));
  EXPECT_THAT(templates.values,
              ElementsAre(DoubleEq(0.6), DoubleEq(0.8), DoubleEq(0), DoubleEq(-1)));
}

TEST(Templates, WeighImagesByTheirDetectorScoreOrNormaliseThemWhereAsked) {
  const IjbImages images = images_of({1, 1}, {1, 1}, {0.5, 1});
  const auto features = rows({6, 0, 0, 4}, 2);
  EXPECT_THAT(pool_templates(images, *features, {}).values,
              ElementsAre(DoubleEq(0.6), DoubleEq(0.8)));
  EXPECT_THAT(pool_templates(images, *features, {.use_detector_score = false}).values,
              ElementsAre(DoubleEq(6 / std::sqrt(52)), DoubleEq(4 / std::sqrt(52))));
  EXPECT_THAT(
      pool_templates(images, *features, {.use_detector_score = false, .normalise_images = true})
          .values,
      ElementsAre(DoubleNear(std::sqrt(0.5), 1e-7), DoubleNear(std::sqrt(0.5), 1e-7)));
}

TEST(Templates, OfZerosAreCountedAndScoreZero) {
  const IjbTemplates templates =
      pool_templates(images_of({1, 1, 2}, {1, 1, 1}, {1, 1, 1}), *rows({1, -1, 3}, 1), {});
  EXPECT_EQ(templates.zeros, 1);
  EXPECT_THAT(templates.values, ElementsAre(0, 1));
}

TEST(Templates, RefuseValuesThatAreNotFinite) {
  const IjbImages images = images_of({1, 1}, {1, 1}, {1, 1});
  const auto features = rows({1, std::numeric_limits<float>::infinity()}, 1);
  EXPECT_THAT([&] { pool_templates(images, *features, {}); },
              ThrowsMessage<Error>("1.jpg: a value that is not finite"));
}

TEST(Identification, CountsByHand) {
  // Gallery A has subjects 1 at 0° and 2 at 90°, B subject 3 at 180°; probes of 1 at 10°, of 2 at
  // 60° and at 20°, of 3 at 170°.
  IjbTemplates templates{.dim = 2, .ids = {0, 1, 2, 10, 11, 12, 13}};
  for (const double degrees : {0.0, 90.0, 180.0, 10.0, 60.0, 20.0, 170.0}) {
    templates.values.push_back(std::cos(degrees * M_PI / 180));
    templates.values.push_back(std::sin(degrees * M_PI / 180));
  }
  IjbSet set;
  set.galleries = {{"A", {0, 1}, {1, 2}}, {"B", {2}, {3}}};
  set.probes = {"mixed", {10, 11, 12, 13}, {1, 2, 2, 3}};
  const auto results = identify_templates(templates, set);
  ASSERT_EQ(results.size(), 7u);
  const IjbIdentification &a = results[0], &b = results[1], &mean = results[2], &all = results[3],
                          &standard = results[6];
  EXPECT_EQ(a.mated, 3);
  EXPECT_EQ(a.non_mated, 1);
  EXPECT_DOUBLE_EQ(a.rank_rates[0], 2.0 / 3);  // the probe at 20° meets subject 1 first
  EXPECT_DOUBLE_EQ(a.rank_rates[1], 1);
  // No non-mated probe may pass; there is one, so the threshold is cos 80°. The mate at 70° passes
  // but is not first.
  EXPECT_DOUBLE_EQ(*a.tpir[0], 2.0 / 3);
  EXPECT_EQ(b.mated, 1);
  EXPECT_EQ(b.non_mated, 3);
  EXPECT_DOUBLE_EQ(*b.tpir[0], 1);
  EXPECT_EQ(mean.count, "per gallery");
  EXPECT_DOUBLE_EQ(mean.rank_rates[0], 3.0 / 4);  // of all probes
  EXPECT_DOUBLE_EQ(*mean.tpir[0], 5.0 / 6);
  EXPECT_EQ(standard.count, "standard");
  EXPECT_DOUBLE_EQ(standard.rank_rates[0], 5.0 / 6);  // of two rates
  EXPECT_DOUBLE_EQ(*standard.tpir[0], 5.0 / 6);
  EXPECT_EQ(all.count, "joined");
  EXPECT_EQ(all.mated, 4);
  EXPECT_DOUBLE_EQ(all.rank_rates[0], 3.0 / 4);
  // The threshold is the highest score that is not a mate's, cos 20°. The mates at 10° and 10°
  // pass, those at 30° and 70° do not.
  EXPECT_DOUBLE_EQ(*all.tpir[0], 2.0 / 4);
}

TEST(Identification, TheFieldsThresholdIsOneScoreHigherThanTheStandards) {
  // Subject 1 at 0° and a probe of it at 1.5°; ten probes of another at 1°, 2°, … 10°.
  IjbTemplates templates{.dim = 2};
  IjbSet set;
  set.galleries = {{"A", {0}, {1}}};
  for (std::int32_t i = 0; i < 12; ++i) {
    const double degrees = i < 11 ? i : 1.5;
    templates.ids.push_back(i);
    templates.values.push_back(std::cos(degrees * M_PI / 180));
    templates.values.push_back(std::sin(degrees * M_PI / 180));
    if (i == 0) continue;
    set.probes.templates.push_back(i);
    set.probes.subjects.push_back(i < 11 ? 2 : 1);
  }
  const auto results = identify_templates(templates, set);
  EXPECT_EQ(results[0].tpir[1], 0);  // above cos 1°, although one probe in ten may pass
  EXPECT_EQ(results[3].count, "standard");
  EXPECT_EQ(results[3].tpir[1], 1);  // above cos 2°
}

TEST(Identification, HasNoTpirWithoutNonMatedProbes) {
  const IjbTemplates templates{.dim = 1, .ids = {0, 1}, .values = {1, 1}};
  IjbSet set;
  set.galleries = {{"A", {0}, {1}}};
  set.probes = {"mixed", {1}, {1}};
  EXPECT_FALSE(identify_templates(templates, set)[0].tpir[0].has_value());
  set.probes.subjects = {2};
  EXPECT_THAT([&] { identify_templates(templates, set); },
              ThrowsMessage<Error>("no probe's subject is in gallery A"));
}

TEST(Identification, PutsAnEqualScoreBeforeTheMate) {
  const IjbTemplates templates{.dim = 1, .ids = {0, 1, 2}, .values = {1, 1, 1}};
  IjbSet set;
  set.galleries = {{"A", {0, 1}, {1, 2}}};
  set.probes = {"mixed", {2}, {1}};
  EXPECT_EQ(identify_templates(templates, set)[0].rank_rates[0], 0);
  EXPECT_EQ(identify_templates(templates, set)[0].rank_rates[1], 1);
}

/// A gallery of `gallery` templates, each of another subject, and probes, all given by their
/// vectors.
struct Search {
  Search(const torch::Tensor& vectors, std::int32_t gallery) {
    templates.dim = vectors.size(1);
    const torch::Tensor unit = vectors / vectors.norm(2, 1, true);
    const auto* const values = unit.const_data_ptr<double>();
    templates.values.assign(values, values + unit.numel());
    set.galleries = {{"A", {}, {}}};
    for (std::int32_t i = 0; i < vectors.size(0); ++i) {
      templates.ids.push_back(i);
      IjbSubjects& of = i < gallery ? set.galleries[0] : set.probes;
      of.templates.push_back(i);
      of.subjects.push_back(i < gallery ? i : 1);
    }
  }

  IjbTemplates templates;
  IjbSet set;
};

torch::Tensor random_vectors(std::int64_t count) {
  torch::Generator generator = at::detail::createCPUGenerator(3);
  return torch::randn({count, 509}, generator, at::kDouble);
}

TEST(Identification, EqualTemplatesScoreEquallyWhereverTheyStand) {
  // The first and the last template of the gallery have the same vector but belong to two subjects.
  // All probes show one of the two.
  torch::Tensor vectors = random_vectors(33 + 513);
  vectors.narrow(0, 33, 513).add_(vectors[0]);
  vectors[32].copy_(vectors[0]);
  Search search(vectors, 33);
  for (std::size_t i = 0; i < 513; ++i) search.set.probes.subjects[i] = i % 2 == 0 ? 0 : 32;
  const auto results = identify_templates(search.templates, search.set);
  EXPECT_EQ(results[0].rank_rates[0], 0);
  EXPECT_EQ(results[0].rank_rates[1], 1);
}

TEST(Identification, EqualProbesScoreEquallyWhereverTheyStand) {
  // The first and the last probe have the same vector; one has a mate, the other has none.
  for (const std::int32_t mate : {3, 7, 12, 20}) {
    torch::Tensor vectors = random_vectors(33 + 513);
    vectors[33].add_(vectors[mate]);
    vectors[33 + 512].copy_(vectors[33]);
    for (const std::size_t mated : {0, 512}) {
      Search search(vectors, 33);
      search.set.probes.subjects[mated] = mate;
      search.set.probes.subjects[512 - mated] = 99;
      EXPECT_EQ(identify_templates(search.templates, search.set)[0].tpir[0], 0) << mate;
    }
  }
}

/// The direct way, with scikit-learn's roc_curve: at its corners, then at every distinct score.
constexpr const char* kProgram = R"(
import sys, numpy as np
from sklearn.metrics import roc_curve
folder = sys.argv[1]
x = np.load(folder + '/x.npy').astype('f8')
t, m, s = np.loadtxt(folder + '/images.txt', unpack=True)
pairs = np.loadtxt(folder + '/pairs.txt', dtype=int)
x *= s[:, None].astype('f4')
pooled = {}
for template in np.unique(t):
    v = sum(x[(t == template) & (m == medium)].mean(0) for medium in np.unique(m[t == template]))
    pooled[int(template)] = v / np.sqrt((v * v).sum())
scores = np.array([pooled[a] @ pooled[b] for a, b, _ in pairs])
for drop in [True, False]:
    fpr, tpr, _ = roc_curve(pairs[:, 2], scores, drop_intermediate=drop)
    for far in [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]:
        near = np.abs(fpr - far)
        print(repr(float(tpr[near == near.min()].max())))
gallery, probe = [np.loadtxt(folder + '/' + n, dtype=int) for n in ['g.txt', 'p.txt']]
g = np.array([pooled[i] for i in gallery[:, 0]])
p = np.array([pooled[i] for i in probe[:, 0]])
sim = p @ g.T
mate = probe[:, 1][:, None] == gallery[:, 1][None, :]
mated = mate.any(1)
own = np.where(mate, sim, -9).max(1)
rank = 1 + (~mate & (sim >= own[:, None])).sum(1)
for k in [1, 5, 10]:
    print(repr(float((mated & (rank <= k)).sum() / mated.sum())))
highest = np.sort(sim[~mated].max(1))[::-1]
for less in [1, 0]:
    for fpir in [0.01, 0.1]:
        above = highest[int(len(highest) * fpir) - less]
        print(repr(float((mated & (rank == 1) & (own > above)).sum() / mated.sum())))
others = np.sort(sim[~mate])[::-1]
for fpir in [0.01, 0.1]:
    above = others[int(np.ceil(mated.sum() * fpir)) - 1]
    print(repr(float((mated & (own > above)).sum() / mated.sum())))
)";

TEST(Ijb, IsWhatScikitLearnAndNumPyCount) {
  const Python python("sklearn");
  if (!python) GTEST_SKIP() << python.why_not();
  constexpr std::int64_t kImages = 3000, kDim = 16, kTemplates = 600, kSubjects = 200;
  torch::Generator generator = at::detail::createCPUGenerator(11);
  const auto draw = [&](std::int64_t n) {
    return torch::randint(n, {1}, generator).item<std::int32_t>();
  };
  const torch::Tensor centres = torch::randn({kSubjects, kDim}, generator);
  const TemporaryFolder folder;
  IjbImages images;
  NpyWriter file(folder / "x.npy", kDim);
  std::vector<float> values;
  std::string image_lines;
  for (std::int64_t i = 0; i < kImages; ++i) {
    const std::int32_t id = i < kTemplates ? static_cast<std::int32_t>(i) : draw(kTemplates);
    images.names.push_back(std::to_string(i));
    images.templates.push_back(id);
    images.media.push_back(draw(3));
    images.scores.push_back(0.25f * static_cast<float>(1 + draw(4)));
    const torch::Tensor row =
        (centres[id % kSubjects] + 2 * torch::randn({kDim}, generator)).contiguous();
    const std::span<const float> span(row.const_data_ptr<float>(), kDim);
    file.add_row(span);
    values.insert(values.end(), span.begin(), span.end());
    image_lines += std::to_string(id) + " " + std::to_string(images.media.back()) + " " +
                   std::to_string(images.scores.back()) + "\n";
  }
  file.commit();
  write_text(folder / "images.txt", image_lines);
  IjbPairs pairs;
  std::string pair_lines, gallery_lines, probe_lines;
  for (std::int64_t i = 0; i < 40'000; ++i) {
    const std::int32_t a = draw(kTemplates);
    const std::int32_t b = i % 4 == 0 ? (a + kSubjects) % kTemplates : draw(kTemplates);
    pairs.first.push_back(a);
    pairs.second.push_back(b);
    pairs.same.push_back(a % kSubjects == b % kSubjects);
    pair_lines += std::to_string(a) + " " + std::to_string(b) + " " +
                  std::to_string(pairs.same.back()) + "\n";
  }
  IjbSet set;
  set.galleries = {{"G", {}, {}}};
  for (std::int32_t id = 0; id < kSubjects / 2; ++id) {
    set.galleries[0].templates.push_back(id);
    set.galleries[0].subjects.push_back(id);
    gallery_lines += std::to_string(id) + " " + std::to_string(id) + "\n";
  }
  for (std::int32_t id = kSubjects; id < kTemplates; ++id) {
    set.probes.templates.push_back(id);
    set.probes.subjects.push_back(id % kSubjects);
    probe_lines += std::to_string(id) + " " + std::to_string(id % kSubjects) + "\n";
  }
  write_text(folder / "pairs.txt", pair_lines);
  write_text(folder / "g.txt", gallery_lines);
  write_text(folder / "p.txt", probe_lines);

  const IjbTemplates templates = pool_templates(images, *rows(values, kDim), {});
  const IjbVerification verification = verify_templates(templates, pairs);
  const auto identification = identify_templates(templates, set);
  std::istringstream wanted(python.run(kProgram, folder.path()));
  const auto expect_next = [&](double found, const char* what) {
    double value = -1;
    wanted >> value;
    EXPECT_NEAR(found, value, 1e-12) << what;
  };
  for (const RocPoint& point : verification.points)
    expect_next(verification.roc.tar(point), "TAR at corners");
  for (const RocPoint& point : verification.of_every_score)
    expect_next(verification.roc.tar(point), "TAR of every score");
  for (const double rate : identification[0].rank_rates) expect_next(rate, "rank");
  for (const auto& tpir : identification[0].tpir) expect_next(*tpir, "TPIR per gallery");
  for (const auto& tpir : identification[3].tpir) expect_next(*tpir, "TPIR standard");
  for (const auto& tpir : identification[2].tpir) expect_next(*tpir, "TPIR joined");
}

}  // namespace
}  // namespace pfc
