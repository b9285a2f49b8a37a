#include "pfc/eval/megaface.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "eval/angles.h"
#include "pfc/base/error.h"
#include "pfc/base/memory.h"
#include "pfc/formats/npy.h"
#include "python.h"
#include "ranks.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

MegafaceResult evaluate(const Features& probes, const Features& distractors,
                        const MegafaceOptions& options = {}) {
  return evaluate_megaface(probes, distractors, options, *make_self_communicator());
}

TEST(Megaface, CountsByHand) {
  // P at 0°, 10° and 40°; distractors at 15° and 90°.
  const auto probes = at_angles({{"P/1.png", 0}, {"P/2.png", 10}, {"P/3.png", 40}});
  const auto distractors = at_angles({{"a/b/1.jpg", 90}, {"a/b/2.jpg", 15}});
  const MegafaceResult result = evaluate(*probes, *distractors, {.far = 0.2});
  EXPECT_EQ(result.pairs, 6);
  EXPECT_THAT(result.sizes, ElementsAre(2));
  // 15° comes before the mate for 0→40, 10→0, 10→40, 40→10 and 40→0. Only for 0→10 the mate is
  // first.
  EXPECT_DOUBLE_EQ(result.rank_1[0], 1.0 / 6);
  // 90° comes before no mate, not even for 40→… (50°, against 30° and 40°). So all other mates are
  // second.
  EXPECT_THAT(result.cmc, ElementsAre(1, 6, 6));
  EXPECT_EQ(result.verification.impostors, 6);
  EXPECT_EQ(result.verification.false_accepts, 1);  // 5°; the next is 15°
  EXPECT_EQ(result.verification.genuine, 3);
  EXPECT_EQ(result.verification.true_accepts, 1);  // 10°, not 30° nor 40°
  ASSERT_EQ(result.hardest_genuine.size(), 3u);
  EXPECT_EQ(result.hardest_genuine[0].second, 2);  // 0° and 40°
  EXPECT_EQ(result.hardest_impostors[0].first, 1);
  EXPECT_EQ(result.hardest_impostors[0].second, 1);  // 10° and 15°
}

TEST(Megaface, ADistractorOfEqualScoreComesBeforeTheMate) {
  const auto probes = at_angles({{"P/1.png", 0}, {"P/2.png", 0}});
  EXPECT_EQ(evaluate(*probes, *at_angles({{"a/b/1.jpg", 0}})).rank_1[0], 0);
}

TEST(Megaface, ThreadsShareTheMemoryOfAPersonsPairs) {
  reset_peak_memory();
  if (peak_memory() == 0) GTEST_SKIP() << "the system does not tell";
  constexpr std::int64_t kImages = 1000, kPairs = kImages * (kImages - 1);
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < kImages; ++i) names.push_back("P/" + std::to_string(i));
  const auto probes = make_features(std::vector<float>(2 * kImages, 1), 2, names);
  const auto distractors = at_angles({{"a/b/1.jpg", 90}});
  const int threads = at::get_num_threads();
  at::set_num_threads(16);
  const std::int64_t before = peak_memory();
  EXPECT_EQ(evaluate(*probes, *distractors).pairs, kPairs);
  EXPECT_LT(peak_memory() - before, 96 * kPairs);
  at::set_num_threads(threads);
}

TEST(Megaface, ReplacesBadProbesAndKeepsBadDistractorsFromMatching) {
  const auto probes =
      at_angles({{"P/1.png", 0}, {"Q/1.png", 90}, {"P/2.png", 20}, {"P/3.png", 180}});
  const auto distractors = at_angles({{"a/b/1.jpg", 10}, {"a/b/2.jpg", 300}});
  const MegafaceResult dirty = evaluate(*probes, *distractors);
  const MegafaceResult clean =
      evaluate(*probes, *distractors, {.bad_probes = {"3.png"}, .bad_distractors = {"a/b/1.jpg"}});
  EXPECT_EQ(clean.replaced, 1);
  EXPECT_EQ(clean.unmatched, 1);
  EXPECT_EQ(clean.distractors, 2);
  EXPECT_EQ(clean.verification.impostors, 8);
  EXPECT_LT(dirty.rank_1[0], 1);
  EXPECT_EQ(clean.rank_1[0], 1);

  const CleanProbes cleaned = clean_probes(*probes, {.bad_probes = {"3.png"}});
  EXPECT_THAT(cleaned.order, ElementsAre(0, 2, 3, 1));
  EXPECT_THAT(cleaned.begin, ElementsAre(0, 3, 4));
  EXPECT_NEAR(cleaned.values[4], std::cos(10 * M_PI / 180), 1e-3);  // of the sum of 0° and 20°
  EXPECT_NEAR(cleaned.values[5], std::sin(10 * M_PI / 180), 1e-3);
  EXPECT_THAT([&] { clean_probes(*probes, {.bad_probes = {"1.png"}}); },
              ThrowsMessage<Error>("no clean image of Q among the probes"));
}

TEST(Megaface, ItsListsTellWhatItCannotMeasure) {
  const std::vector<std::string> names = {"P/1.png", "P/2.png", "Q/1.png"};
  require_probes(names, {.bad_probes = {"2.png"}});
  EXPECT_THAT([&] { require_probes(names, {.bad_probes = {"1.png"}}); },
              ThrowsMessage<Error>("no clean image of Q among the probes"));
  EXPECT_THAT([&] { require_probes(std::span(names).last(2), {}); },
              ThrowsMessage<Error>("no person among the probes has two images"));
}

TEST(Megaface, RefusesWhatItCannotMeasure) {
  const auto one = at_angles({{"P/1.png", 0}});
  const auto distractors = at_angles({{"a/b/1.jpg", 10}});
  EXPECT_THAT([&] { evaluate(*one, *distractors); },
              ThrowsMessage<Error>("no person among the probes has two images"));
  EXPECT_THAT([&] { evaluate(*one, *make_features({1}, 1, {"a/b/1.jpg"})); },
              ThrowsMessage<Error>(HasSubstr("probes have 2 values, distractors 1")));
  const auto two = at_angles({{"P/1.png", 0}, {"P/2.png", 0}});
  EXPECT_THAT(
      [&] {
        evaluate(*two, *make_features({1, std::numeric_limits<float>::quiet_NaN()}, 2, {"a/b/1"}));
      },
      ThrowsMessage<Error>("a/b/1: a value that is not finite"));
}

void save(const Features& features, const std::filesystem::path& path) {
  NpyWriter writer(path, features.dim());
  std::vector<float> row(static_cast<std::size_t>(features.dim()));
  for (std::int64_t i = 0; i < features.count(); ++i) {
    features.read_row(i, row);
    writer.add_row(row);
  }
  writer.commit();
}

TEST(RanksMegaface, IsWhatNumPyCounts) {
  const Python python("numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  constexpr std::int64_t kPeople = 12, kDim = 16, kDistractors = 2500;
  torch::Generator generator = at::detail::createCPUGenerator(3);
  const auto made = [&](const torch::Tensor& rows, std::vector<std::string> names) {
    const torch::Tensor whole = rows.contiguous();
    return make_features(
        {whole.const_data_ptr<float>(), whole.const_data_ptr<float>() + whole.numel()}, kDim,
        std::move(names));
  };
  const torch::Tensor people = torch::randn({kPeople, 1, kDim}, generator);
  std::vector<std::string> probe_names, distractor_names;
  for (std::int64_t i = 0; i < kPeople * 7; ++i)
    probe_names.push_back("p" + std::to_string(100 + i / 7) + "/" + std::to_string(i) + ".png");
  for (std::int64_t i = 0; i < kDistractors; ++i)
    distractor_names.push_back("a/b/" + std::to_string(i) + ".jpg");
  const auto probes = made(
      (people + 0.8 * torch::randn({kPeople, 7, kDim}, generator)).view({-1, kDim}), probe_names);
  const auto distractors = made(torch::randn({kDistractors, kDim}, generator), distractor_names);
  const TemporaryFolder folder;
  save(*probes, folder / "p.npy");
  save(*distractors, folder / "d.npy");
  const std::string printed = python.run(R"(
import sys, numpy as np
def unit(name):
    x = np.load(sys.argv[1] + '/' + name)
    return (x / np.sqrt((x.astype('f8') ** 2).sum(1, keepdims=True))).astype('f4').astype('f8')
p, d = unit('p.npy'), unit('d.npy')
person = np.arange(len(p)) // 7
s, mates = p @ d.T, p @ p.T
a, b = np.nonzero((person[:, None] == person[None, :]) & ~np.eye(len(p), dtype=bool))
ranks = {n: 1 + (s[a, :n] >= mates[a, b][:, None]).sum(1) for n in [10, 100, 1000, len(d)]}
print(len(a))
for n in ranks: print(repr(float((ranks[n] == 1).mean())))
for k in [1, 2, 5, 20, 1000]: print((ranks[len(d)] <= k).sum())
genuine = mates[np.triu(person[:, None] == person[None, :], 1)]
impostors = np.sort(s.ravel())[::-1]
above = impostors[int(1e-3 * len(impostors))]
print((genuine > above).sum(), (impostors > above).sum())
)",
                                         folder.path());
  on_ranks([&](Communicator& comm) {
    const MegafaceResult result = evaluate_megaface(*probes, *distractors, {.far = 1e-3}, comm);
    std::istringstream wanted(printed);
    const auto next = [&] {
      double value = -1;
      wanted >> value;
      return value;
    };
    EXPECT_EQ(static_cast<double>(result.pairs), next());
    EXPECT_THAT(result.sizes, ElementsAre(10, 100, 1000, kDistractors));
    for (const double rate : result.rank_1) EXPECT_NEAR(rate, next(), 1e-12);
    for (const std::size_t rank : {1, 2, 5, 20, 1000})
      EXPECT_EQ(static_cast<double>(result.cmc[rank - 1]), next()) << rank;
    EXPECT_EQ(static_cast<double>(result.verification.true_accepts), next());
    EXPECT_EQ(static_cast<double>(result.verification.false_accepts), next());
  });
}

}  // namespace
}  // namespace pfc
