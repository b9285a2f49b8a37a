#include "pfc/eval/megaface.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "eval/lowest_pairs.h"
#include "eval/score_blocks.h"
#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"
#include "pfc/comm/long_work.h"
#include "pfc/eval/impostor_scores.h"

namespace pfc {
namespace {

std::string person_of(const std::string& name) {
  return name.substr(0, name.rfind('/') == name.npos ? 0 : name.rfind('/'));
}

std::string file_of(const std::string& name) {
  return name.substr(name.rfind('/') == name.npos ? 0 : name.rfind('/') + 1);
}

/// Distractors that can match, as unit vectors.
struct Distractors {
  at::Tensor rows;                     // [m, dim]
  std::vector<std::int64_t> number{};  // [m] among all
};

Distractors read_distractors(const Features& features, const MegafaceOptions& options) {
  const std::int64_t dim = features.dim();
  Distractors result{at::empty({features.count(), dim}, at::kFloat)};
  auto* const values = result.rows.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < features.count(); ++i) {
    if (options.bad_distractors.contains(features.name(i))) continue;
    const std::span row(values + std::ssize(result.number) * dim, static_cast<std::size_t>(dim));
    const std::array of = {i};
    if (read_unit_rows(features, of, row) > 0) continue;
    result.number.push_back(i);
    if (i % (1 << 14) == 0) features.forget();
  }
  if (result.number.empty()) throw Error("no distractor is left");
  result.rows = result.rows.narrow(0, 0, std::ssize(result.number));
  return result;
}

/// The other images of a probe's person; each forms a pair with the probe.
class Mates {
 public:
  explicit Mates(const CleanProbes& probes) : dim_(probes.dim), values_(probes.values) {
    begin_.push_back(0);
    for (std::size_t person = 0; person + 1 < probes.begin.size(); ++person) {
      const std::int64_t first = probes.begin[person], end = probes.begin[person + 1];
      for (std::int64_t i = first; i < end; ++i) {
        for (std::int64_t j = first; j < end; ++j) {
          if (j != i) scores_.push_back(exact_score<float>(row(i), row(j)));
          if (j <= i) continue;
          unordered_.push_back(scores_.back());
          keep_lowest(hardest_, {scores_.back(), probes.order[static_cast<std::size_t>(i)],
                                 probes.order[static_cast<std::size_t>(j)]});
        }
        std::sort(scores_.begin() + begin_.back(), scores_.end());
        begin_.push_back(std::ssize(scores_));
      }
    }
    std::ranges::sort(unordered_);
  }

  std::int64_t pairs() const { return std::ssize(scores_); }
  /// Scores, ascending.
  std::span<const double> of(std::int64_t probe) const {
    const auto i = static_cast<std::size_t>(probe);
    return std::span(scores_).subspan(static_cast<std::size_t>(begin_[i]),
                                      static_cast<std::size_t>(begin_[i + 1] - begin_[i]));
  }
  std::int64_t begin(std::int64_t probe) const { return begin_[static_cast<std::size_t>(probe)]; }
  const std::vector<NamedPair>& hardest() const { return hardest_; }
  /// Scores of every pair once, ascending.
  std::span<const double> unordered() const { return unordered_; }
  std::span<const float> row(std::int64_t i) const {
    const auto dim = static_cast<std::size_t>(dim_);
    return std::span(values_).subspan(static_cast<std::size_t>(i) * dim, dim);
  }

 private:
  std::int64_t dim_;
  std::span<const float> values_;
  std::vector<double> scores_, unordered_;
  std::vector<NamedPair> hardest_;
  std::vector<std::int64_t> begin_;
};

/// Counts how many distractors come before each mate, and keeps the first of them. A distractor
/// that comes before some of a probe's mates comes before those with the lowest scores, so only the
/// last of these is noted. All threads share one counter: a person with thousands of images has
/// many millions of pairs.
class Beaten {
 public:
  explicit Beaten(std::int64_t pairs)
      : count_(static_cast<std::size_t>(pairs)),
        first_(static_cast<std::size_t>(pairs), std::numeric_limits<std::int64_t>::max()) {}

  /// May be called by several threads at once.
  void note(std::int64_t last_pair, std::int64_t distractor) {
    const auto i = static_cast<std::size_t>(last_pair);
    std::atomic_ref(count_[i]).fetch_add(1, std::memory_order_relaxed);
    const std::atomic_ref first(first_[i]);
    std::int64_t before = first.load(std::memory_order_relaxed);
    while (distractor < before &&
           !first.compare_exchange_weak(before, distractor, std::memory_order_relaxed)) {
    }
  }
  void add_all(Communicator& comm) {
    const auto pairs = std::ssize(count_);
    at::Tensor sum = at::from_blob(count_.data(), {pairs}, at::kLong);
    comm.all_reduce(sum).wait();
    const at::Tensor all =
        comm.all_gather(at::from_blob(first_.data(), {1, pairs}, at::kLong)).wait();
    const at::Tensor least = all.amin(0).contiguous();
    std::copy_n(least.const_data_ptr<std::int64_t>(), pairs, first_.begin());
  }
  /// Turns the notes into counts for each mate of a probe.
  void spread(std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = end - 1; i > begin; --i) {
      const auto at = static_cast<std::size_t>(i);
      count_[at - 1] += count_[at];
      first_[at - 1] = std::min(first_[at - 1], first_[at]);
    }
  }
  std::span<const std::int64_t> count() const { return count_; }
  std::span<const std::int64_t> first() const { return first_; }

 private:
  std::vector<std::int64_t> count_, first_;
};

/// Compares the scores of a block with those of its probes' mates; exactly, if they are close.
void note_block(const ScoreBlock& block, const Mates& mates, const Distractors& distractors,
                double close, Beaten& beaten) {
  const std::int64_t dim = distractors.rows.size(1);
  for (std::int64_t i = 0; i < block.rows; ++i) {
    const std::int64_t probe = block.first_row + i;
    const auto scores = mates.of(probe);
    if (scores.empty()) continue;
    const auto lowest = static_cast<float>(scores.front() - 2 * close);
    const float* const row = block.row(i);
    for (std::int64_t j = 0; j < block.columns; ++j) {
      if (row[j] < lowest) continue;
      double score = static_cast<double>(row[j]);
      const std::int64_t column = block.first_column + j;
      if (std::ranges::lower_bound(scores, score - close) !=
          std::ranges::upper_bound(scores, score + close)) {
        const float* const other = distractors.rows.const_data_ptr<float>() + column * dim;
        score = exact_score<float>(mates.row(probe), {other, static_cast<std::size_t>(dim)});
      }
      const auto behind = std::ranges::upper_bound(scores, score) - scores.begin();
      if (behind > 0) {
        beaten.note(mates.begin(probe) + behind - 1,
                    distractors.number[static_cast<std::size_t>(column)]);
      }
    }
  }
}

}  // namespace

void require_probes(std::span<const std::string> names, const MegafaceOptions& options) {
  struct Images {
    std::int64_t all = 0, clean = 0;
  };
  std::map<std::string, Images> people;
  for (const std::string& name : names) {
    Images& images = people[person_of(name)];
    ++images.all;
    images.clean += options.bad_probes.contains(file_of(name)) ? 0 : 1;
  }
  for (const auto& [person, images] : people)
    if (images.clean == 0) throw Error("no clean image of " + person + " among the probes");
  if (std::ranges::none_of(people, [](const auto& one) { return one.second.all > 1; }))
    throw Error("no person among the probes has two images");
}

CleanProbes clean_probes(const Features& probes, const MegafaceOptions& options) {
  CleanProbes result{.dim = probes.dim(), .values = {}, .order = {}, .begin = {}};
  const auto n = static_cast<std::size_t>(probes.count()),
             dim = static_cast<std::size_t>(probes.dim());
  std::vector<std::string> names(n), people(n);
  for (std::size_t i = 0; i < n; ++i) {
    names[i] = probes.name(static_cast<std::int64_t>(i));
    people[i] = person_of(names[i]);
  }
  require_probes(names, options);
  result.order.resize(n);
  std::iota(result.order.begin(), result.order.end(), std::int64_t{0});
  const auto person = [&](std::int64_t i) -> const std::string& {
    return people[static_cast<std::size_t>(i)];
  };
  std::ranges::stable_sort(result.order, {}, person);
  result.values.resize(n * dim);
  read_unit_rows(probes, result.order, result.values);

  const CounterRandom random(0, RandomStream::kFeatureNoise);
  const auto row = [&](std::size_t i) { return std::span(result.values).subspan(i * dim, dim); };
  for (std::size_t begin = 0, end; begin < n; begin = end) {
    end = begin + 1;
    while (end < n && person(result.order[end]) == person(result.order[begin])) ++end;
    result.begin.push_back(static_cast<std::int64_t>(begin));
    std::vector<std::size_t> bad;
    std::vector<double> sum(dim);
    for (std::size_t i = begin; i < end; ++i) {
      if (options.bad_probes.contains(file_of(probes.name(result.order[i])))) {
        bad.push_back(i);
        continue;
      }
      for (std::size_t k = 0; k < dim; ++k) sum[k] += static_cast<double>(row(i)[k]);
    }
    result.replaced += std::ssize(bad);
    for (const std::size_t i : bad) {
      for (std::size_t k = 0; k < dim; ++k) {
        constexpr std::int64_t kSteps = 1 << 20;
        const auto step = random.below(kSteps, static_cast<std::uint64_t>(result.order[i]), k);
        const double noise = 1e-3 * (2 * (static_cast<double>(step) + 0.5) / kSteps - 1);
        row(i)[k] = static_cast<float>(sum[k] + noise);
      }
      normalise(row(i));
    }
  }
  result.begin.push_back(static_cast<std::int64_t>(n));
  return result;
}

MegafaceResult evaluate_megaface(const Features& probe_features, const Features& features,
                                 const MegafaceOptions& options, Communicator& comm) {
  if (probe_features.dim() != features.dim()) {
    throw Error("probes have " + counted(probe_features.dim(), "value") + ", distractors " +
                std::to_string(features.dim()));
  }
  CleanProbes probes = long_work(comm, [&] { return clean_probes(probe_features, options); });
  const Distractors distractors =
      long_work(comm, [&] { return read_distractors(features, options); });
  const Mates mates(probes);

  const std::int64_t n = std::ssize(probes.order);
  const at::Tensor rows = at::from_blob(probes.values.data(), {n, probes.dim}, at::kFloat);
  const std::array sets = {ImpostorPairs{rows, distractors.rows, {}}};
  Beaten beaten(mates.pairs());
  const double close = gemm_error(probes.dim);
  const ImpostorScores impostors(
      sets, comm, {.progress = options.progress, .visit = [&](int, const ScoreBlock& block) {
                     note_block(block, mates, distractors, close, beaten);
                   }});
  beaten.add_all(comm);
  for (std::int64_t i = 0; i < n; ++i) beaten.spread(mates.begin(i), mates.begin(i + 1));

  MegafaceResult result;
  result.probes = n;
  result.people = std::ssize(probes.begin) - 1;
  result.distractors = features.count();
  result.replaced = probes.replaced;
  result.unmatched = features.count() - std::ssize(distractors.number);
  result.pairs = mates.pairs();
  for (std::int64_t size = 10; size < result.distractors; size *= 10) result.sizes.push_back(size);
  result.sizes.push_back(result.distractors);
  for (const std::int64_t size : result.sizes) {
    const auto found =
        std::ranges::count_if(beaten.first(), [&](std::int64_t first) { return first >= size; });
    result.rank_1.push_back(static_cast<double>(found) / static_cast<double>(result.pairs));
  }
  result.cmc.resize(static_cast<std::size_t>(std::min<std::int64_t>(1000, result.distractors + 1)));
  for (const std::int64_t before : beaten.count()) {
    if (before < std::ssize(result.cmc)) ++result.cmc[static_cast<std::size_t>(before)];
  }
  std::partial_sum(result.cmc.begin(), result.cmc.end(), result.cmc.begin());
  result.verification =
      impostors
          .answer(std::array{ImpostorScores::Question{.sets = {0},
                                                      .genuine = mates.unordered(),
                                                      .far = options.far,
                                                      .rejected = n * result.unmatched}})
          .front();
  result.genuine_histogram = score_histogram(mates.unordered());
  result.impostor_histogram.assign(impostors.histogram(0).begin(), impostors.histogram(0).end());
  result.hardest_genuine = mates.hardest();
  for (const ScoredPair& pair : impostors.hardest(0)) {
    result.hardest_impostors.push_back({pair.score,
                                        probes.order[static_cast<std::size_t>(pair.row)],
                                        distractors.number[static_cast<std::size_t>(pair.column)]});
  }
  return result;
}

}  // namespace pfc
