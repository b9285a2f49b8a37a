#include "pfc/eval/ifrt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "eval/angles.h"
#include "eval/lowest_pairs.h"
#include "pfc/base/error.h"
#include "pfc/formats/npy.h"
#include "python.h"
#include "ranks.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

IfrtResult evaluate(const Features& features, const IfrtOptions& options = {}) {
  return evaluate_ifrt(features, options, *make_self_communicator());
}

TEST(Ifrt, CountsByHand) {
  // Group A: person 1 at 0° and 10°, person 2 at 60°; group B: person 1 (another one) at 5°, 100°.
  const auto features =
      at_angles({{"B/1/x", 5}, {"A/2/x", 60}, {"A/1/x", 0}, {"A/1/y", 10}, {"B/1/y", 100}});
  const IfrtResult result = evaluate(*features, {.fars = {0, 0.5}});
  ASSERT_EQ(result.groups.size(), 3u);
  const GroupResult &a = result.groups[0], &b = result.groups[1], &all = result.groups[2];
  EXPECT_EQ(a.name, "A");
  EXPECT_EQ(a.identities, 2);
  EXPECT_EQ(a.images, 3);
  EXPECT_EQ(a.genuine, 1);
  EXPECT_EQ(a.impostors, 2);
  EXPECT_EQ(a.rates[0].true_accepts, 1);  // 10° apart, the nearest impostors 50°
  EXPECT_NEAR(a.rates[0].above, std::cos(50 * M_PI / 180), 1e-6);
  EXPECT_EQ(b.genuine, 1);
  EXPECT_EQ(b.impostors, 0);
  EXPECT_TRUE(b.rates.empty());
  EXPECT_EQ(all.name, "ALL");
  EXPECT_EQ(all.identities, 3);
  EXPECT_EQ(all.genuine, 2);
  EXPECT_EQ(all.impostors, 8);               // of 10 unordered pairs
  EXPECT_EQ(all.rates[0].true_accepts, 0);   // two impostor pairs are 5° apart
  EXPECT_EQ(all.rates[1].false_accepts, 4);  // 5, 5, 40, 50 of 5, 5, 40, 50, 55, 60, 90, 100
  EXPECT_EQ(all.rates[1].true_accepts, 1);
  EXPECT_EQ(result.single, 1);
  ASSERT_EQ(result.hardest_genuine.size(), 2u);
  EXPECT_EQ(features->name(result.hardest_genuine[0].first), "B/1/x");
  EXPECT_EQ(features->name(result.hardest_genuine[0].second), "B/1/y");
  ASSERT_EQ(result.hardest_impostors.size(), 8u);
  EXPECT_NEAR(result.hardest_impostors[0].score, std::cos(5 * M_PI / 180), 1e-6);
}

TEST(Ifrt, WithoutGroupsIsOne) {
  const IfrtResult result = evaluate(*at_angles({{"1/a", 0}, {"1/b", 1}, {"2/a", 90}}));
  ASSERT_EQ(result.groups.size(), 1u);
  EXPECT_EQ(result.groups[0].name, "ALL");
  EXPECT_EQ(result.groups[0].rates[0].true_accepts, 1);
  EXPECT_FALSE(result.groups[0].rates[0].resolved());
}

TEST(Ifrt, BetweenTwoGroupsComparesOneWithTheOther) {
  const auto features = at_angles({{"plain/1/a", 0},
                                   {"mask/1/a", 10},
                                   {"mask/1/b", 20},
                                   {"plain/2/a", 90},
                                   {"mask/3/a", 50},
                                   {"plain/4/a", 140}});
  const IfrtResult result =
      evaluate(*features, {.fars = {0.2}, .between_first = "mask", .between_second = "plain"});
  ASSERT_EQ(result.groups.size(), 1u);
  const GroupResult& group = result.groups[0];
  EXPECT_EQ(group.identities, 1);
  EXPECT_EQ(group.genuine, 2);                 // 10 and 20 against 0
  EXPECT_EQ(group.impostors, 7);               // of 3 × 3
  EXPECT_EQ(group.rates[0].false_accepts, 1);  // 40; the next is 50
  EXPECT_EQ(group.rates[0].true_accepts, 2);
  EXPECT_THAT([&] { evaluate(*features, {.between_first = "mask", .between_second = "hat"}); },
              ThrowsMessage<Error>("no group hat among the names; there is mask, plain"));
}

TEST(Ifrt, ItsNamesTellWhatItCannotMeasure) {
  const std::vector<std::string> names = {"mask/1/a.jpg", "plain/1/b.jpg", "c.jpg"};
  const std::span<const std::string> good = std::span(names).first(2);
  require_ifrt_names(good, {.between_first = "mask", .between_second = "plain"});
  EXPECT_THAT([&] { require_ifrt_names(good, {.between_first = "mask", .between_second = "hat"}); },
              ThrowsMessage<Error>("no group hat among the names; there is mask, plain"));
  EXPECT_THAT([&] { require_ifrt_names(names, {}); },
              ThrowsMessage<Error>(HasSubstr("c.jpg: found the name \"c.jpg\", want")));
}

TEST(Ifrt, RefusesMoreGroupsThanMemoryHolds) {
  std::vector<std::string> names;
  for (int i = 0; i < 101; ++i) names.push_back(std::to_string(i) + "/person/x.jpg");
  require_ifrt_names(std::span(names).first(100), {});
  require_ifrt_names(names, {.between_first = "0", .between_second = "1"});
  EXPECT_THAT(
      [&] { require_ifrt_names(names, {}); },
      ThrowsMessage<Error>(HasSubstr("the names have 101 groups, want at most 100; a group")));
  EXPECT_THAT([&] { evaluate(*make_features(std::vector<float>(101, 1), 1, names)); },
              ThrowsMessage<Error>(HasSubstr("101 groups")));
}

TEST(Ifrt, RefusesNamesWithoutAnIdentityAndValuesThatAreNotFinite) {
  EXPECT_THAT(
      [] {
        evaluate(*at_angles({{"1/a", 0}, {"b.jpg", 0}}));
      },
      ThrowsMessage<Error>(HasSubstr("want GROUP/IDENTITY/IMAGE")));
  const auto wrong =
      make_features({1, std::numeric_limits<float>::quiet_NaN()}, 1, {"1/a.jpg", "2/b.jpg"});
  EXPECT_THAT([&] { evaluate(*wrong); },
              ThrowsMessage<Error>("2/b.jpg: a value that is not finite"));
}

TEST(Ifrt, ItsLowestPairsAreTheSameInWhateverOrderTheyCome) {
  std::vector<NamedPair> ascending, descending;
  for (std::int64_t i = 0; i < 40; ++i) {
    keep_lowest(ascending, {0.5, i, i + 1});
    keep_lowest(descending, {0.5, 39 - i, 40 - i});
  }
  ASSERT_EQ(ascending.size(), kHardestPairs);
  ASSERT_EQ(descending.size(), kHardestPairs);
  for (std::size_t i = 0; i < kHardestPairs; ++i) {
    EXPECT_EQ(ascending[i].first, static_cast<std::int64_t>(i));
    EXPECT_EQ(descending[i].first, static_cast<std::int64_t>(i));
  }
}

TEST(Ifrt, CountsEmbeddingsOfZerosOnly) {
  const IfrtResult result =
      evaluate(*make_features({1, 0, 1}, 1, {"1/a", "1/b", "2/a"}), {.fars = {0.5}});
  EXPECT_EQ(result.zeros, 1);
  EXPECT_EQ(result.groups[0].impostors, 2);
  EXPECT_EQ(result.groups[0].rates[0].true_accepts,
            0);  // 0°, like an impostor pair, and so not above the threshold
}

/// Embeddings around a direction of each person, as a network gives them.
std::unique_ptr<Features> made_up(std::int64_t people, std::int64_t dim) {
  torch::Generator generator = at::detail::createCPUGenerator(5);
  const torch::Tensor centres = torch::randn({people, dim}, generator);
  std::vector<float> values;
  std::vector<std::string> names;
  for (std::int64_t person = 0; person < people; ++person) {
    for (std::int64_t i = 0; i <= person % 5; ++i) {
      const torch::Tensor row =
          (centres[person] + 1.6 * torch::randn({dim}, generator)).contiguous();
      values.insert(values.end(), row.const_data_ptr<float>(), row.const_data_ptr<float>() + dim);
      names.push_back("g" + std::to_string(person % 3) + "/" + std::to_string(person) + "/" +
                      std::to_string(i) + ".jpg");
    }
  }
  return make_features(std::move(values), dim, std::move(names));
}

TEST(RanksIfrt, IsWhatNumPyCounts) {
  const Python python("numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  const auto features = made_up(400, 32);
  const TemporaryFolder folder;
  NpyWriter rows(folder / "a.npy", features->dim());
  std::string names;
  for (std::int64_t i = 0; i < features->count(); ++i) {
    std::vector<float> row(static_cast<std::size_t>(features->dim()));
    features->read_row(i, row);
    rows.add_row(row);
    names += features->name(i) + "\n";
  }
  rows.commit();
  write_text(folder / "a.txt", names);
  const std::string printed = python.run(
      "import sys, numpy as np\n"
      "x = np.load(sys.argv[1] + '/a.npy')\n"
      "names = open(sys.argv[1] + '/a.txt').read().split()\n"
      "x = (x / np.sqrt((x.astype('f8') ** 2).sum(1, keepdims=True))).astype('f4').astype('f8')\n"
      "group = np.array([n.split('/')[0] for n in names])\n"
      "person = np.array([n.split('/')[1] for n in names])\n"
      "scores = x @ x.T\n"
      "upper = np.triu(np.ones(scores.shape, bool), 1)\n"
      "same = person[:, None] == person[None, :]\n"
      "for name in ['g0', 'g1', 'g2', 'ALL']:\n"
      "  inside = upper if name == 'ALL' else upper & ((group[:, None] == name) & (group[None, :] "
      "== name))\n"
      "  genuine, impostors = scores[inside & same], np.sort(scores[inside & ~same])[::-1]\n"
      "  for far in [1e-5, 1e-4, 1e-3, 1e-2, 0.1]:\n"
      "    above = impostors[int(far * len(impostors))]\n"
      "    print(len(genuine), len(impostors), (genuine > above).sum(), (impostors > "
      "above).sum())\n",
      folder.path());
  on_ranks([&](Communicator& comm) {
    const IfrtResult result =
        evaluate_ifrt(*features, {.fars = {1e-5, 1e-4, 1e-3, 1e-2, 0.1}}, comm);
    std::istringstream wanted(printed);
    for (const GroupResult& group : result.groups) {
      for (const AcceptRate& rate : group.rates) {
        std::int64_t genuine = 0, impostors = 0, true_accepts = 0, false_accepts = 0;
        wanted >> genuine >> impostors >> true_accepts >> false_accepts;
        EXPECT_EQ(rate.genuine, genuine);
        EXPECT_EQ(rate.impostors, impostors);
        EXPECT_EQ(rate.true_accepts, true_accepts) << group.name << " " << rate.wanted_far;
        EXPECT_EQ(rate.false_accepts, false_accepts) << group.name << " " << rate.wanted_far;
      }
    }
    EXPECT_FALSE(wanted.fail());
  });
}

}  // namespace
}  // namespace pfc
