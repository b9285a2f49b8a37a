#include "pfc/eval/impostor_scores.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
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
/// In the first pass; its highest score is remembered for each strip, a block of further passes.
constexpr BlockShape kBlock = {.rows = 1024, .columns = 512};
constexpr BlockShape kStrip = {.rows = 64, .columns = 512};
static_assert(kBlock.rows % kStrip.rows == 0 && kBlock.columns % kStrip.columns == 0);
constexpr auto kInfinity = std::numeric_limits<double>::infinity();

std::span<const float> row_of(const at::Tensor& rows, std::int64_t i) {
  const auto dim = static_cast<std::size_t>(rows.size(1));
  return {rows.const_data_ptr<float>() + static_cast<std::size_t>(i) * dim, dim};
}

/// The impostors of a row of a block: body(first column in the block, how many), twice at the most.
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

/// Rank by rank, then cut to the highest.
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

/// What a thread counts in the first pass.
struct Worker {
  ScoreCounter counter{kBins};
  std::vector<ScoredPair> hardest;

  /// Returns the highest score of a strip's impostors, −∞ where there are none.
  float count(const ImpostorPairs& pairs, const ScoreBlock& strip) {
    float most = -std::numeric_limits<float>::infinity();
    for (std::int64_t row = 0; row < strip.rows; ++row) {
      for_each_run(pairs, strip, row, [&](std::int64_t column, std::int64_t count) {
        const std::span scores(strip.row(row) + column, static_cast<std::size_t>(count));
        const float highest = counter.add(scores);
        most = std::max(most, highest);
        if (is_hard(highest)) keep_hard(scores, strip.first_row + row, strip.first_column + column);
      });
    }
    return most;
  }

 private:
  bool is_hard(float score) const {
    return hardest.size() < ImpostorScores::kHardest ||
           static_cast<double>(score) > hardest.back().score;
  }
  void keep_hard(std::span<const float> scores, std::int64_t row, std::int64_t first_column) {
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (!is_hard(scores[i])) continue;
      hardest.push_back(
          {static_cast<double>(scores[i]), row, first_column + static_cast<std::int64_t>(i)});
      keep_highest(hardest);
    }
  }
};

/// The search for the score of a rank, 0 the highest, among some sets' impostors: it lies in bins
/// [first, last] as GEMMs give it, and in [from, to) exactly; `above` scores are surely higher.
struct ScoreSearch {
  const std::vector<std::size_t>* sets;
  std::int64_t rank = 0;
  std::int64_t first = 0, last = kBins - 1;
  double from = -kInfinity, to = kInfinity;
  std::int64_t above = 0, inside = 0;

  bool holds(std::int64_t bin) const { return first <= bin && bin <= last; }
  bool holds(double score) const { return from <= score && score < to; }
};

/// What threads found, each in a place of its own: [threads][searches].
template <typename T>
using Found = std::vector<std::vector<T>>;

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
  return static_cast<double>(dim) * std::ldexp(1.0, -24);
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
  /// [sets][strips]: the bin of the highest score; kOthers: another rank's, or no impostors.
  std::vector<std::vector<std::uint16_t>> highest;
  std::int64_t margin = 1;  // bins by which a GEMM may miss, and the score that decides as well

  static constexpr std::uint16_t kOthers = 0xFFFF;
  static_assert(kBins < kOthers);

  void count();
  void count(std::size_t set, std::int64_t& done, std::int64_t total);
  ScoreSearch begin_search(const std::vector<std::size_t>& of, std::int64_t rank) const;
  template <typename Body>
  void look_again(std::span<const ScoreSearch> searches, const Body& body);
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
  std::vector<Worker> workers(static_cast<std::size_t>(at::get_num_threads()));

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
  for (ScoredPair& pair : most)
    pair.score =
        exact_score<float>(row_of(pairs.rows, pair.row), row_of(pairs.columns, pair.column));
  keep_highest(most);
}

/// By the histogram: the bin of the score as GEMMs give it, and those next to it.
ScoreSearch ImpostorScores::State::begin_search(const std::vector<std::size_t>& of,
                                                std::int64_t rank) const {
  std::vector<std::int64_t> counts(kBins);
  for (const std::size_t set : of)
    std::ranges::transform(counts, histograms[set], counts.begin(), std::plus());
  ScoreSearch search{.sets = &of, .rank = rank};
  std::int64_t bin = kBins, above = 0;
  while (above <= rank) above += counts[static_cast<std::size_t>(--bin)];
  search.first = std::max<std::int64_t>(bin - margin, 0);
  search.last = std::min(bin + margin, kBins - 1);
  const auto sum = [&](std::int64_t begin, std::int64_t end) {
    return std::accumulate(counts.begin() + begin, counts.begin() + end, std::int64_t{0});
  };
  search.above = sum(search.last + 1, kBins);
  search.inside = sum(search.first, search.last + 1);
  return search;
}

/// body(thread, search, exact score) for every score of this rank that lies in the bins of a
/// search.
template <typename Body>
void ImpostorScores::State::look_again(std::span<const ScoreSearch> searches, const Body& body) {
  for (std::size_t set = 0; set < sets.size(); ++set) {
    std::vector<std::size_t> asking;
    std::int64_t lowest = kBins, most = -1;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      if (std::ranges::find(*searches[i].sets, set) == searches[i].sets->end()) continue;
      asking.push_back(i);
      lowest = std::min(lowest, searches[i].first);
      most = std::max(most, searches[i].last);
    }
    if (asking.empty()) continue;
    const ImpostorPairs& pairs = sets[set];
    const auto wanted = [&](const ScoreBlock& strip) {
      const std::uint16_t bin = highest[set][static_cast<std::size_t>(strip.number)];
      return bin != kOthers && bin >= lowest;
    };
    const auto visit = [&](int thread, const ScoreBlock& block) {
      for (std::int64_t row = 0; row < block.rows; ++row) {
        const auto left = row_of(pairs.rows, block.first_row + row);
        for_each_run(pairs, block, row, [&](std::int64_t column, std::int64_t count) {
          for (std::int64_t i = column; i < column + count; ++i) {
            const std::int64_t bin = ScoreCounter::bin(block.row(row)[i], kBins);
            if (bin < lowest || bin > most) continue;
            const double exact =
                exact_score<float>(left, row_of(pairs.columns, block.first_column + i));
            for (const std::size_t search : asking)
              if (searches[search].holds(bin)) body(thread, search, exact);
          }
        });
      }
    };
    for_each_score_block(
        pairs.rows, pairs.columns, wanted, visit, [](std::int64_t) {}, kStrip);
  }
}

/// Counts what the searches hold in finer bins, by exact scores, and leaves the one that decides.
void ImpostorScores::State::narrow(std::span<ScoreSearch> searches) {
  constexpr std::int64_t kParts = 4096;
  const auto bounds = [&](const ScoreSearch& search) {
    constexpr double kWidth = 2.0 / kBins;
    const auto reach = static_cast<double>(margin) * kWidth;
    return std::pair(
        std::max(search.from, static_cast<double>(search.first) * kWidth - 1 - reach),
        std::min(search.to, static_cast<double>(search.last + 1) * kWidth - 1 + reach));
  };
  const auto edge = [&](const ScoreSearch& search, std::int64_t part) {
    const auto [from, to] = bounds(search);
    return from + (to - from) * static_cast<double>(part) / kParts;
  };
  const auto part_of = [&](const ScoreSearch& search, double score) {
    const auto [from, to] = bounds(search);
    auto part = static_cast<std::int64_t>((score - from) / (to - from) * kParts);
    part = std::clamp<std::int64_t>(part, 0, kParts - 1);
    while (part > 0 && score < edge(search, part)) --part;
    while (part + 1 < kParts && score >= edge(search, part + 1)) ++part;
    return part;
  };
  auto found = make_found(searches.size(), std::vector<std::int64_t>(kParts));
  const auto count = [&](int thread, std::size_t search, double score) {
    if (!searches[search].holds(score)) return;
    const std::int64_t part = part_of(searches[search], score);
    ++found[static_cast<std::size_t>(thread)][search][static_cast<std::size_t>(part)];
  };
  long_work(comm, [&] { look_again(searches, count); });
  for (std::size_t i = 0; i < searches.size(); ++i) {
    at::Tensor sum = at::zeros({kParts}, at::kLong);
    auto* const counts = sum.mutable_data_ptr<std::int64_t>();
    for (const auto& of_thread : found)
      std::transform(counts, counts + kParts, of_thread[i].begin(), counts, std::plus());
    comm.all_reduce(sum).wait();
    ScoreSearch& search = searches[i];
    std::int64_t part = kParts;
    while (search.above + counts[part - 1] <= search.rank) search.above += counts[--part];
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
    if (searches[search].holds(score))
      candidates[static_cast<std::size_t>(thread)][search].push_back(score);
  };
  long_work(comm, [&] { look_again(searches, keep); });
  for (std::size_t i = 0; i < searches.size(); ++i) {
    const ScoreSearch& search = searches[i];
    std::vector<double> scores;
    for (auto& of_thread : candidates) {
      scores.insert(scores.end(), of_thread[i].begin(), of_thread[i].end());
      std::vector<double>().swap(of_thread[i]);
    }
    at::Tensor count = at::full({1}, std::ssize(scores), at::kLong);
    const std::int64_t most = comm.all_gather(count).wait().max().item<std::int64_t>();
    scores.resize(static_cast<std::size_t>(most), -kInfinity);
    at::Tensor all =
        comm.all_gather(at::from_blob(scores.data(), {most}, at::kDouble)).wait().contiguous();
    const std::span<double> values(all.mutable_data_ptr<double>(),
                                   static_cast<std::size_t>(all.numel()));
    const auto place = values.begin() + (search.rank - search.above);
    std::ranges::nth_element(values, place, std::greater());
    const double score = *place;
    const auto higher = std::ranges::count_if(values, [&](double v) { return v > score; });
    found(i, score, search.above + higher);
  }
}

ImpostorScores::ImpostorScores(std::span<const ImpostorPairs> sets, Communicator& comm,
                               ImpostorOptions options)
    : state_(std::make_unique<State>(sets, comm, std::move(options))) {
  for (const ImpostorPairs& set : sets) {
    if (set.rows.size(1) > 2048) throw Error("embeddings of more than 2,048 values");
    const double misses =
        2 * gemm_error(set.rows.size(1));  // of a score and of the one that decides
    state_->margin =
        std::max(state_->margin, static_cast<std::int64_t>(std::ceil(misses / (2.0 / kBins))));
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
  std::vector<std::size_t> asked;  // the question of each search
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
  const auto most = static_cast<std::int64_t>(state_->options.most_candidates);
  while (true) {
    std::vector<ScoreSearch> wide;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      // What cannot be told apart any more is equal.
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
