#include "pfc/eval/impostor_scores.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "eval/score_blocks.h"
#include "eval/score_counter.h"
#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "pfc/comm/long_work.h"

namespace pfc {
namespace {

constexpr std::int64_t kBins = ImpostorScores::kBins;
/// The blocks of the first pass. The highest score of each strip is remembered; a strip is the
/// block of further passes.
constexpr BlockShape kBlock = {.rows = 1024, .columns = 512};
constexpr BlockShape kStrip = {.rows = 64, .columns = 512};
static_assert(kBlock.rows % kStrip.rows == 0 && kBlock.columns % kStrip.columns == 0);
constexpr auto kInfinity = std::numeric_limits<double>::infinity();

/// The lowest score of a bin, except for ScoreCounter's rounding when it adds 1.
double edge_of(std::int64_t bin) {
  return static_cast<double>(bin) * 2 / kBins - 1;
}
constexpr double kEdgeRounding = 0x1p-24;

std::span<const float> row_of(const at::Tensor& rows, std::int64_t i) {
  const auto dim = static_cast<std::size_t>(rows.size(1));
  return {rows.const_data_ptr<float>() + static_cast<std::size_t>(i) * dim, dim};
}

/// Calls body(first column in the block, how many) for the impostors of a block's row; at most
/// twice.
template <typename Body>
void for_each_run(const ImpostorPairs& pairs, const ScoreBlock& block, std::int64_t row,
                  const Body& body) {
  const std::int64_t begin = block.first_column, end = begin + block.columns;
  ImpostorPairs::Range excluded;
  if (!pairs.excluded.empty())
    excluded = pairs.excluded[static_cast<std::size_t>(block.first_row + row)];
  const std::int64_t left = std::min(end, std::max(begin, excluded.begin));
  const std::int64_t right = std::max(begin, std::min(end, std::max(excluded.end, left)));
  if (left > begin) body(std::int64_t{0}, left - begin);
  if (end > right) body(right - begin, end - right);
}

/// Gathers the pairs of all ranks and keeps the highest.
std::vector<ScoredPair> highest_of_all(std::vector<ScoredPair> pairs, Communicator& comm) {
  const auto most = static_cast<std::int64_t>(ImpostorScores::kHardest);
  at::Tensor mine = at::full({most, 3}, -kInfinity, at::kDouble);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    mine[at][0] = pairs[i].score;
    mine[at][1] = static_cast<double>(pairs[i].row);
    mine[at][2] = static_cast<double>(pairs[i].column);
  }
  const at::Tensor all = comm.all_gather(mine).wait();
  pairs.clear();
  for (std::int64_t i = 0; i < all.size(0); ++i) {
    const double* const values = all.const_data_ptr<double>() + 3 * i;
    if (values[0] == -kInfinity) continue;
    pairs.push_back(
        {values[0], static_cast<std::int64_t>(values[1]), static_cast<std::int64_t>(values[2])});
  }
  return pairs;
}

void keep_highest(std::vector<ScoredPair>& pairs) {
  std::ranges::sort(pairs, [](const ScoredPair& a, const ScoredPair& b) {
    return std::tuple(-a.score, a.row, a.column) < std::tuple(-b.score, b.row, b.column);
  });
  if (pairs.size() > ImpostorScores::kHardest) pairs.resize(ImpostorScores::kHardest);
}

template <typename Body>
void for_each_strip(const ScoreBlock& block, const Body& body) {
  for (std::int64_t down = 0; down < block.rows; down += kStrip.rows) {
    for (std::int64_t across = 0; across < block.columns; across += kStrip.columns) {
      ScoreBlock strip = block;
      strip.first_row += down;
      strip.rows = std::min(kStrip.rows, block.rows - down);
      strip.first_column += across;
      strip.columns = std::min(kStrip.columns, block.columns - across);
      strip.scores = block.row(down) + across;
      body(strip);
    }
  }
}

/// What one thread counts in the first pass.
struct Worker {
  explicit Worker(double the_error) : error(the_error) {}

  double error;  ///< of a score computed by a GEMM
  ScoreCounter counter{kBins};
  std::vector<ScoredPair> hardest;  ///< by their exact scores

  /// Returns the highest score of a strip's impostors; −∞ if there are none.
  float count(const ImpostorPairs& pairs, const ScoreBlock& strip) {
    float most = -std::numeric_limits<float>::infinity();
    for (std::int64_t row = 0; row < strip.rows; ++row) {
      for_each_run(pairs, strip, row, [&](std::int64_t column, std::int64_t count) {
        const std::span scores(strip.row(row) + column, static_cast<std::size_t>(count));
        const float highest = counter.add(scores);
        most = std::max(most, highest);
        if (may_be_hard(highest))
          keep_hard(pairs, scores, strip.first_row + row, strip.first_column + column);
      });
    }
    return most;
  }

 private:
  bool may_be_hard(float score) const {
    return hardest.size() < ImpostorScores::kHardest ||
           static_cast<double>(score) + error >= hardest.back().score;
  }
  void keep_hard(const ImpostorPairs& pairs, std::span<const float> scores, std::int64_t row,
                 std::int64_t first_column) {
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (!may_be_hard(scores[i])) continue;
      const std::int64_t column = first_column + static_cast<std::int64_t>(i);
      hardest.push_back({exact_score<float>(row_of(pairs.rows, row), row_of(pairs.columns, column)),
                         row, column});
      keep_highest(hardest);
    }
  }
};

/// The search for the exact score of a rank (0 is the highest) among the impostors of some sets.
/// The score lies in [from, to), which holds at most `inside` scores.
struct ScoreSearch {
  const std::vector<std::size_t>* sets;
  std::int64_t rank = 0;
  double from = -kInfinity, to = kInfinity;
  std::int64_t inside = 0;

  /// Checks that the rank lies inside: `above` scores are not below `to`, and `found` lie inside.
  void require(std::int64_t above, std::int64_t found) const {
    if (above <= rank && rank < above + found) return;
    throw Error(
        "products on this machine are less exact than float32; scores need float32 products");
  }
};

/// Results of threads, each in a place of its own: [threads][searches].
template <typename T>
using Found = std::vector<std::vector<T>>;

void add_all_ranks(std::vector<std::int64_t>& counts, Communicator& comm) {
  at::Tensor sum = at::from_blob(counts.data(), {std::ssize(counts)}, at::kLong);
  comm.all_reduce(sum).wait();
}

template <typename T>
Found<T> make_found(std::size_t searches, const T& start = {}) {
  return {static_cast<std::size_t>(at::get_num_threads()), std::vector<T>(searches, start)};
}

}  // namespace

std::int64_t ImpostorPairs::count() const {
  std::int64_t pairs = rows.size(0) * columns.size(0);
  for (const Range& range : excluded) pairs -= range.end - range.begin;
  return pairs;
}

double gemm_error(std::int64_t dim) {
  return static_cast<double>(dim + 1) * 0x1p-24;  // one more than dim, because roundings multiply
}

std::vector<std::int64_t> score_histogram(std::span<const double> scores) {
  std::vector<std::int64_t> histogram(kBins);
  for (const double score : scores)
    ++histogram[static_cast<std::size_t>(ScoreCounter::bin(static_cast<float>(score), kBins))];
  return histogram;
}

struct ImpostorScores::State {
  State(std::span<const ImpostorPairs> the_sets, Communicator& the_comm,
        ImpostorOptions the_options)
      : sets(the_sets), comm(the_comm), options(std::move(the_options)) {}

  std::span<const ImpostorPairs> sets;
  Communicator& comm;
  ImpostorOptions options;
  std::vector<std::vector<std::int64_t>> histograms;  // [sets][kBins]
  std::vector<std::vector<ScoredPair>> hardest;       // [sets]
  /// [sets][strips]: the bin of the highest score. kOthers: the strip belongs to another rank, or
  /// has no impostors.
  std::vector<std::vector<std::uint16_t>> highest;
  double error = 0;  // how far a score may lie from the bin into which it was sorted

  static constexpr std::uint16_t kOthers = 0xFFFF;
  static_assert(kBins < kOthers);

  void count();
  void count(std::size_t set, std::int64_t& done, std::int64_t total);
  ScoreSearch begin_search(const std::vector<std::size_t>& of, std::int64_t rank) const;
  template <typename Body>
  std::vector<std::int64_t> look_again(std::span<const ScoreSearch> searches, const Body& body);
  void narrow(std::span<ScoreSearch> searches);
  void finish(
      std::span<const ScoreSearch> searches,
      const std::function<void(std::size_t search, double score, std::int64_t above)>& found);
};

void ImpostorScores::State::count() {
  const std::int64_t total = std::transform_reduce(
      sets.begin(), sets.end(), std::int64_t{0}, std::plus(), [](const ImpostorPairs& set) {
        return count_blocks(set.rows.size(0), set.columns.size(0), kBlock);
      });
  std::int64_t done = 0;
  for (std::size_t set = 0; set < sets.size(); ++set) count(set, done, total);
}

void ImpostorScores::State::count(std::size_t set, std::int64_t& done, std::int64_t total) {
  const ImpostorPairs& pairs = sets[set];
  const std::int64_t columns = pairs.columns.size(0);
  auto& strips = highest.emplace_back(
      static_cast<std::size_t>(count_blocks(pairs.rows.size(0), columns, kStrip)), kOthers);
  const std::int64_t strips_across = count_blocks(1, columns, kStrip);
  std::vector<Worker> workers(static_cast<std::size_t>(at::get_num_threads()), Worker(error));

  const auto wanted = [&](const ScoreBlock& block) {
    if (block.number % comm.world() != comm.rank()) return false;
    for (std::int64_t row : {std::int64_t{0}, block.rows - 1}) {
      bool any = false;
      for_each_run(pairs, block, row, [&](auto, auto) { any = true; });
      if (any) return true;
    }
    return false;
  };
  const auto visit = [&](int thread, const ScoreBlock& block) {
    Worker& worker = workers[static_cast<std::size_t>(thread)];
    if (options.visit) options.visit(thread, block);
    for_each_strip(block, [&](const ScoreBlock& strip) {
      const float most = worker.count(pairs, strip);
      const std::int64_t down = strip.first_row / kStrip.rows;
      const std::int64_t across = strip.first_column / kStrip.columns;
      if (most == -std::numeric_limits<float>::infinity()) return;
      strips[static_cast<std::size_t>(down * strips_across + across)] =
          static_cast<std::uint16_t>(ScoreCounter::bin(most, kBins));
    });
  };
  const auto progress = [&](std::int64_t more) { options.progress(done += more, total); };
  long_work(comm, [&] {
    for_each_score_block(pairs.rows, pairs.columns, wanted, visit, progress, kBlock);
  });

  at::Tensor sum = at::zeros({kBins}, at::kLong);
  auto& most = hardest.emplace_back();
  for (Worker& worker : workers) {
    worker.counter.add_to({sum.mutable_data_ptr<std::int64_t>(), static_cast<std::size_t>(kBins)});
    most.insert(most.end(), worker.hardest.begin(), worker.hardest.end());
  }
  comm.all_reduce(sum).wait();
  histograms.emplace_back(sum.const_data_ptr<std::int64_t>(),
                          sum.const_data_ptr<std::int64_t>() + kBins);
  keep_highest(most);
  most = highest_of_all(std::move(most), comm);
  keep_highest(most);
}

/// Uses the histogram. Each GEMM score differs from its exact score by at most `error`, and so do
/// the scores of one rank.
ScoreSearch ImpostorScores::State::begin_search(const std::vector<std::size_t>& of,
                                                std::int64_t rank) const {
  std::vector<std::int64_t> counts(kBins);
  for (const std::size_t set : of)
    std::ranges::transform(counts, histograms[set], counts.begin(), std::plus());
  ScoreSearch search{.sets = &of, .rank = rank};
  std::int64_t bin = kBins, above = 0;
  while (above <= rank) above += counts[static_cast<std::size_t>(--bin)];
  // The outermost bins also hold the scores outside [−1, 1].
  if (bin > 0) search.from = edge_of(bin) - error;
  if (bin + 1 < kBins) search.to = edge_of(bin + 1) + error;
  const auto more = static_cast<std::int64_t>(std::ceil(2 * error / (2.0 / kBins)));
  search.inside =
      std::accumulate(counts.begin() + std::max<std::int64_t>(bin - more, 0),
                      counts.begin() + std::min(bin + more + 1, kBins), std::int64_t{0});
  return search;
}

/// Calls body(thread, search, exact score) for every score of this rank that lies inside a search.
/// Returns how many of its scores are not below each search's `to`. The products of a second pass
/// may differ from the first in their last bits, and so in their bins. A score that is closer to an
/// end of a search than the error of a product is therefore decided by its exact value alone.
template <typename Body>
std::vector<std::int64_t> ImpostorScores::State::look_again(std::span<const ScoreSearch> searches,
                                                            const Body& body) {
  auto above = make_found<std::int64_t>(searches.size());
  for (std::size_t set = 0; set < sets.size(); ++set) {
    std::vector<std::size_t> asking;
    double lowest = kInfinity;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      if (std::ranges::find(*searches[i].sets, set) == searches[i].sets->end()) continue;
      asking.push_back(i);
      lowest = std::min(lowest, searches[i].from);
    }
    if (asking.empty()) continue;
    const ImpostorPairs& pairs = sets[set];
    const auto wanted = [&](const ScoreBlock& strip) {
      const std::uint16_t bin = highest[set][static_cast<std::size_t>(strip.number)];
      return bin != kOthers && (bin + 1 == kBins || edge_of(bin + 1) + error >= lowest);
    };
    const auto visit = [&](int thread, const ScoreBlock& block) {
      const auto look = [&](std::int64_t row, std::int64_t column, double score) {
        std::optional<double> exact;
        for (const std::size_t i : asking) {
          const ScoreSearch& search = searches[i];
          if (score < search.from - error) continue;
          const bool is_sure = score >= search.to + error;
          if (!is_sure && !exact) {
            exact = exact_score<float>(row_of(pairs.rows, block.first_row + row),
                                       row_of(pairs.columns, block.first_column + column));
          }
          const double decides = exact.value_or(score);
          if (decides >= search.to) {
            ++above[static_cast<std::size_t>(thread)][i];
          } else if (decides >= search.from) {
            body(thread, i, decides);
          }
        }
      };
      for (std::int64_t row = 0; row < block.rows; ++row) {
        for_each_run(pairs, block, row, [&](std::int64_t column, std::int64_t count) {
          for (std::int64_t i = column; i < column + count; ++i) {
            const auto score = static_cast<double>(block.row(row)[i]);
            if (score >= lowest - error) look(row, i, score);
          }
        });
      }
    };
    for_each_score_block(
        pairs.rows, pairs.columns, wanted, visit, [](std::int64_t) {}, kStrip);
  }
  std::vector<std::int64_t> sum(searches.size());
  for (const auto& of_thread : above)
    std::ranges::transform(sum, of_thread, sum.begin(), std::plus());
  return sum;
}

/// Counts the scores inside the searches in finer bins, and keeps the bin that decides.
void ImpostorScores::State::narrow(std::span<ScoreSearch> searches) {
  constexpr std::int64_t kParts = 4096;
  const auto edge = [&](const ScoreSearch& search, std::int64_t part) {
    const double from = std::max(search.from, -2.0), to = std::min(search.to, 2.0);
    return from + (to - from) * static_cast<double>(part) / kParts;
  };
  const auto part_of = [&](const ScoreSearch& search, double score) {
    const double from = edge(search, 0), to = edge(search, kParts);
    auto part = static_cast<std::int64_t>((score - from) / (to - from) * kParts);
    part = std::clamp<std::int64_t>(part, 0, kParts - 1);
    while (part > 0 && score < edge(search, part)) --part;
    while (part + 1 < kParts && score >= edge(search, part + 1)) ++part;
    return part;
  };
  auto found = make_found(searches.size(), std::vector<std::int64_t>(kParts));
  const auto count = [&](int thread, std::size_t search, double score) {
    const std::int64_t part = part_of(searches[search], score);
    ++found[static_cast<std::size_t>(thread)][search][static_cast<std::size_t>(part)];
  };
  auto above = long_work(comm, [&] { return look_again(searches, count); });
  add_all_ranks(above, comm);
  for (std::size_t i = 0; i < searches.size(); ++i) {
    at::Tensor sum = at::zeros({kParts}, at::kLong);
    auto* const counts = sum.mutable_data_ptr<std::int64_t>();
    for (const auto& of_thread : found)
      std::transform(counts, counts + kParts, of_thread[i].begin(), counts, std::plus());
    comm.all_reduce(sum).wait();
    ScoreSearch& search = searches[i];
    search.require(above[i], std::accumulate(counts, counts + kParts, std::int64_t{0}));
    std::int64_t part = kParts, before = above[i];
    while (before + counts[part - 1] <= search.rank) before += counts[--part];
    --part;
    const double from = edge(search, part), to = edge(search, part + 1);
    search.from = from;
    if (part + 1 < kParts) search.to = to;
    search.inside = counts[part];
  }
}

void ImpostorScores::State::finish(
    std::span<const ScoreSearch> searches,
    const std::function<void(std::size_t search, double score, std::int64_t above)>& found) {
  auto candidates = make_found<std::vector<double>>(searches.size());
  const auto keep = [&](int thread, std::size_t search, double score) {
    candidates[static_cast<std::size_t>(thread)][search].push_back(score);
  };
  auto above = long_work(comm, [&] { return look_again(searches, keep); });
  add_all_ranks(above, comm);
  for (std::size_t i = 0; i < searches.size(); ++i) {
    std::vector<double> scores;
    for (auto& of_thread : candidates) {
      scores.insert(scores.end(), of_thread[i].begin(), of_thread[i].end());
      std::vector<double>().swap(of_thread[i]);
    }
    at::Tensor count = at::full({1}, std::ssize(scores), at::kLong);
    const at::Tensor counts = comm.all_gather(count).wait();
    searches[i].require(above[i], counts.sum().item<std::int64_t>());
    const auto most = counts.max().item<std::int64_t>();
    scores.resize(static_cast<std::size_t>(most), -kInfinity);
    at::Tensor all =
        comm.all_gather(at::from_blob(scores.data(), {most}, at::kDouble)).wait().contiguous();
    const std::span<double> values(all.mutable_data_ptr<double>(),
                                   static_cast<std::size_t>(all.numel()));
    const auto place = values.begin() + (searches[i].rank - above[i]);
    std::ranges::nth_element(values, place, std::greater());
    const double score = *place;
    const auto higher = std::ranges::count_if(values, [&](double v) { return v > score; });
    found(i, score, above[i] + higher);
  }
}

ImpostorScores::ImpostorScores(std::span<const ImpostorPairs> sets, Communicator& comm,
                               ImpostorOptions options)
    : state_(std::make_unique<State>(sets, comm, std::move(options))) {
  for (const ImpostorPairs& set : sets) {
    if (set.rows.size(1) > 2048) throw Error("embeddings of more than 2,048 values");
    state_->error = std::max(state_->error, gemm_error(set.rows.size(1)) + kEdgeRounding);
  }
  state_->count();
}

ImpostorScores::~ImpostorScores() = default;

std::span<const std::int64_t> ImpostorScores::histogram(std::size_t set) const {
  return state_->histograms[set];
}

std::span<const ScoredPair> ImpostorScores::hardest(std::size_t set) const {
  return state_->hardest[set];
}

std::vector<AcceptRate> ImpostorScores::answer(std::span<const Question> questions) const {
  std::vector<AcceptRate> rates;
  std::vector<ScoreSearch> searches;
  std::vector<std::size_t> asked;  // the question that each search belongs to
  for (const Question& question : questions) {
    AcceptRate rate{.wanted_far = question.far, .genuine = std::ssize(question.genuine)};
    for (const std::size_t set : question.sets) rate.impostors += state_->sets[set].count();
    if (rate.genuine == 0 || rate.impostors == 0) {
      throw Error("an accept rate needs pairs of both kinds, found " +
                  std::to_string(rate.genuine) + " of the same person and " +
                  std::to_string(rate.impostors) + " of different ones");
    }
    const std::int64_t counted = rate.impostors;
    rate.impostors += question.rejected;
    const std::int64_t allowed = allowed_accepts(question.far, rate.impostors);
    if (allowed < counted) {
      searches.push_back(state_->begin_search(question.sets, allowed));
      asked.push_back(rates.size());
    } else {
      rate.above = -kInfinity;
      rate.true_accepts = rate.genuine;
      rate.false_accepts = counted;
    }
    rates.push_back(rate);
  }
  if (searches.empty()) return rates;
  const auto most = static_cast<std::int64_t>(state_->options.most_candidates);
  while (true) {
    std::vector<ScoreSearch> wide;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      // Scores that float64 cannot tell apart are equal.
      const bool divisible = std::nextafter(searches[i].from, searches[i].to) < searches[i].to;
      if (searches[i].inside <= most || !divisible) continue;
      wide.push_back(searches[i]);
      places.push_back(i);
    }
    if (wide.empty()) break;
    state_->narrow(wide);
    for (std::size_t i = 0; i < wide.size(); ++i) searches[places[i]] = wide[i];
  }
  state_->finish(searches, [&](std::size_t search, double score, std::int64_t above) {
    AcceptRate& rate = rates[asked[search]];
    rate.above = score;
    rate.false_accepts = above;
    rate.true_accepts = count_above(questions[asked[search]].genuine, score);
  });
  return rates;
}

}  // namespace pfc
