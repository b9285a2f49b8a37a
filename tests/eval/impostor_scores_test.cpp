#include "pfc/eval/impostor_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "ranks.h"

namespace pfc {
namespace {

/// Unit vectors; every fifth equals the one before it.
torch::Tensor rows_of(std::int64_t n, std::int64_t dim, std::uint64_t seed) {
  torch::Generator generator = at::detail::createCPUGenerator(seed);
  torch::Tensor rows = torch::randn({n, dim}, generator);
  for (std::int64_t i = 5; i < n; i += 5) rows[i] = rows[i - 1];
  for (std::int64_t i = 0; i < n; ++i) {
    normalise({rows.data_ptr<float>() + i * dim, static_cast<std::size_t>(dim)});
  }
  return rows;
}

/// All scores of impostor pairs, descending, computed the direct way.
std::vector<ScoredPair> all_of(const ImpostorPairs& pairs) {
  std::vector<ScoredPair> scores;
  const auto dim = static_cast<std::size_t>(pairs.rows.size(1));
  for (std::int64_t i = 0; i < pairs.rows.size(0); ++i) {
    for (std::int64_t j = 0; j < pairs.columns.size(0); ++j) {
      const auto& range = pairs.excluded[static_cast<std::size_t>(i)];
      if (j >= range.begin && j < range.end) continue;
      const auto* const a = pairs.rows.const_data_ptr<float>() + static_cast<std::size_t>(i) * dim;
      const auto* const b =
          pairs.columns.const_data_ptr<float>() + static_cast<std::size_t>(j) * dim;
      scores.push_back({exact_score<float>({a, dim}, {b, dim}), i, j});
    }
  }
  std::ranges::sort(scores, std::greater(), &ScoredPair::score);
  return scores;
}

/// Each row excludes two columns, which move to the right from row to row.
ImpostorPairs some_pairs(std::int64_t n, std::int64_t m, std::uint64_t seed) {
  ImpostorPairs pairs{rows_of(n, 24, seed), rows_of(m, 24, seed + 1), {}};
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t begin = std::min(i * m / n, m - 2);
    pairs.excluded.push_back({begin, begin + 2});
  }
  return pairs;
}

/// The right answer to a question, by sorting all scores.
AcceptRate expected(const std::vector<ScoredPair>& descending, std::span<const double> genuine,
                    double far) {
  AcceptRate rate{
      .wanted_far = far, .genuine = std::ssize(genuine), .impostors = std::ssize(descending)};
  const auto allowed = static_cast<std::size_t>(allowed_accepts(far, rate.impostors));
  rate.above = allowed < descending.size() ? descending[allowed].score
                                           : -std::numeric_limits<double>::infinity();
  rate.false_accepts = std::ranges::count_if(
      descending, [&](const ScoredPair& pair) { return pair.score > rate.above; });
  rate.true_accepts =
      std::ranges::count_if(genuine, [&](double score) { return score > rate.above; });
  return rate;
}

void expect_equal(const AcceptRate& found, const AcceptRate& wanted) {
  EXPECT_EQ(found.above, wanted.above) << wanted.wanted_far;
  EXPECT_EQ(found.false_accepts, wanted.false_accepts) << wanted.wanted_far;
  EXPECT_EQ(found.true_accepts, wanted.true_accepts) << wanted.wanted_far;
  EXPECT_EQ(found.impostors, wanted.impostors);
  EXPECT_EQ(found.genuine, wanted.genuine);
}

TEST(RanksImpostorScores, AreThoseOfAFullSortAtEveryFarOnAnyNumberOfRanks) {
  const std::vector<ImpostorPairs> sets = {some_pairs(700, 1300, 1), some_pairs(30, 90, 7)};
  std::vector<std::vector<ScoredPair>> sorted = {all_of(sets[0]), all_of(sets[1])};
  std::vector<ScoredPair> both = sorted[0];
  both.insert(both.end(), sorted[1].begin(), sorted[1].end());
  std::ranges::sort(both, std::greater(), &ScoredPair::score);
  std::vector<double> genuine;
  for (std::size_t i = 0; i < both.size(); i += 997) genuine.push_back(both[i].score);
  std::ranges::sort(genuine);

  on_ranks([&](Communicator& comm) {
    const ImpostorScores scores(sets, comm);
    std::vector<ImpostorScores::Question> questions;
    const std::vector<double> fars = {0, 1e-6, 1e-5, 1e-3, 0.1, 0.5, 0.999, 1};
    for (const double far : fars) {
      questions.push_back({.sets = {0}, .genuine = genuine, .far = far});
      questions.push_back({.sets = {0, 1}, .genuine = genuine, .far = far});
    }
    const std::vector<AcceptRate> rates = scores.answer(questions);
    for (std::size_t i = 0; i < fars.size(); ++i) {
      expect_equal(rates[2 * i], expected(sorted[0], genuine, fars[i]));
      expect_equal(rates[2 * i + 1], expected(both, genuine, fars[i]));
    }
    for (std::size_t set = 0; set < sets.size(); ++set) {
      const auto histogram = scores.histogram(set);
      EXPECT_EQ(std::accumulate(histogram.begin(), histogram.end(), std::int64_t{0}),
                sets[set].count());
      const auto hardest = scores.hardest(set);
      EXPECT_EQ(hardest.size(), ImpostorScores::kHardest);
      for (std::size_t i = 0; i < hardest.size(); ++i)
        EXPECT_EQ(hardest[i].score, sorted[set][i].score);
    }
  });
}

TEST(RanksImpostorScores, AreTheSameWhereTheSearchNarrowsFirst) {
  const std::vector<ImpostorPairs> sets = {some_pairs(400, 600, 3)};
  const std::vector<ScoredPair> sorted = all_of(sets[0]);
  const std::vector<double> genuine = {-0.5, 0, 0.25, 0.5};
  on_ranks([&](Communicator& comm) {
    const ImpostorScores scores(sets, comm, {.most_candidates = 2});
    for (const double far : {1e-5, 1e-4, 1e-3, 0.03, 0.2, 0.5, 0.9999}) {
      const ImpostorScores::Question question{.sets = {0}, .genuine = genuine, .far = far};
      expect_equal(scores.answer(std::span(&question, 1)).front(), expected(sorted, genuine, far));
    }
  });
}

TEST(ImpostorScores, OnEdgesOfBinsCountOnceWhateverTheirProductsRoundTo) {
  // Of 65 rows the last one forms a strip of its own. Its products are rounded differently than in
  // the first pass.
  constexpr std::int64_t kRows = 65, kColumns = 3000, kDim = 64, kEdge = 14'000;
  ImpostorPairs pairs{rows_of(kRows, kDim, 11), rows_of(kColumns, kDim, 12), {}};
  pairs.excluded.resize(kRows);
  const torch::Tensor last = pairs.rows[kRows - 1].to(at::kDouble);
  for (std::int64_t j = 0; j < kColumns; ++j) {
    const double edge = 2.0 * static_cast<double>(kEdge + j % 4) / ImpostorScores::kBins - 1;
    const torch::Tensor column = pairs.columns[j].to(at::kDouble);
    const torch::Tensor across = column - last.dot(column) * last;
    pairs.columns[j] = edge * last + std::sqrt(1 - edge * edge) * across / across.norm();
  }
  const std::vector<ImpostorPairs> sets = {pairs};
  const std::vector<ScoredPair> sorted = all_of(pairs);
  const std::vector<double> genuine = {0};
  const auto comm = make_self_communicator();
  for (const std::size_t candidates : {std::size_t{1} << 20, std::size_t{100}}) {
    const ImpostorScores scores(sets, *comm, {.most_candidates = candidates});
    std::vector<ImpostorScores::Question> questions;
    for (double rank = 0.5; rank < kColumns; rank += 83)
      questions.push_back({.sets = {0}, .genuine = genuine, .far = rank / (kRows * kColumns)});
    const std::vector<AcceptRate> rates = scores.answer(questions);
    for (std::size_t i = 0; i < rates.size(); ++i)
      expect_equal(rates[i], expected(sorted, genuine, questions[i].far));
    for (std::size_t i = 0; i < ImpostorScores::kHardest; ++i)
      EXPECT_EQ(scores.hardest(0)[i].score, sorted[i].score);
  }
}

TEST(ImpostorScores, OfOneValueAllAreAcceptedOrNone) {
  const torch::Tensor same = torch::ones({40, 1});
  const std::vector<ImpostorPairs> sets = {{same, same, {}}};
  const std::vector<double> genuine = {1, 1};
  const auto comm = make_self_communicator();
  const ImpostorScores scores(sets, *comm, {.most_candidates = 4});
  const std::vector<ImpostorScores::Question> questions = {
      {.sets = {0}, .genuine = genuine, .far = 0.5}, {.sets = {0}, .genuine = genuine, .far = 1}};
  const auto rates = scores.answer(questions);
  EXPECT_EQ(rates[0].false_accepts, 0);
  EXPECT_EQ(rates[0].true_accepts, 0);
  EXPECT_EQ(rates[1].false_accepts, 1600);
  EXPECT_EQ(rates[1].true_accepts, 2);
}

TEST(ImpostorScores, ThatAreRejectedCountAmongThePairs) {
  const torch::Tensor row = torch::ones({1, 1});
  const torch::Tensor columns = torch::tensor({1.0f, -1.0f}).view({2, 1});
  const std::vector<ImpostorPairs> sets = {{row, columns, {}}};
  const std::vector<double> genuine = {0};
  const auto comm = make_self_communicator();
  const ImpostorScores scores(sets, *comm);
  const auto at = [&](double far) {
    const ImpostorScores::Question question{
        .sets = {0}, .genuine = genuine, .far = far, .rejected = 8};
    return scores.answer(std::span(&question, 1)).front();
  };
  EXPECT_EQ(at(0.1).impostors, 10);
  EXPECT_EQ(at(0.1).false_accepts, 1);
  EXPECT_EQ(at(0.1).true_accepts, 1);
  EXPECT_EQ(at(0.09).true_accepts, 0);
  EXPECT_EQ(at(0.2).false_accepts, 2);
}

TEST(ImpostorScores, WantPairsOfBothKinds) {
  const torch::Tensor rows = torch::ones({2, 1});
  const std::vector<ImpostorPairs> sets = {{rows, rows, {{0, 2}, {0, 2}}}};
  const auto comm = make_self_communicator();
  const ImpostorScores scores(sets, *comm);
  const std::vector<double> genuine = {1};
  const ImpostorScores::Question question{.sets = {0}, .genuine = genuine, .far = 0.1};
  EXPECT_THAT([&] { scores.answer(std::span(&question, 1)); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("1 of the same person and 0 of")));
}

}  // namespace
}  // namespace pfc
