#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <utility>

#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "pfc/eval/accept_rate.h"
#include "pfc/eval/ijb.h"

namespace pfc {
namespace {

constexpr auto kNone = -std::numeric_limits<double>::infinity();

/// What one probe finds in a gallery.
struct Search {
  double mate = kNone;     ///< the highest score of its subject's templates; none: no mate
  double highest = kNone;  ///< the highest of all other scores
  std::int64_t rank = 0;   ///< of the mate; 1 is the first
};

/// Rows [n, dim] with columns [m, dim]. The last bits of a GEMM depend on a row's place in it, so
/// one of two equal templates could come before the other.
at::Tensor exact_scores(const at::Tensor& rows, const at::Tensor& columns) {
  at::Tensor scores = at::empty({rows.size(0), columns.size(0)}, at::kDouble);
  double* const to = scores.mutable_data_ptr<double>();
  const auto row_of = [dim = rows.size(1)](const at::Tensor& of, std::int64_t i) {
    return std::span(of.const_data_ptr<double>() + i * dim, static_cast<std::size_t>(dim));
  };
  at::parallel_for(0, rows.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t j = 0; j < columns.size(0); ++j)
        to[i * columns.size(0) + j] = exact_score<double>(row_of(rows, i), row_of(columns, j));
    }
  });
  return scores;
}

class Gallery {
 public:
  Gallery(const IjbTemplates& templates, const std::vector<const IjbSubjects*>& parts)
      : templates_(templates) {
    for (const IjbSubjects* part : parts) {
      subjects_.insert(subjects_.end(), part->subjects.begin(), part->subjects.end());
      rows_.push_back(vectors(*part));
    }
  }

  /// Searches for every probe. `other` gets each score that does not belong to a mate.
  template <typename Other>
  std::vector<Search> search(const IjbSubjects& probes, const Other& other) const {
    constexpr std::int64_t kProbes = 512;  // at a time
    const at::Tensor gallery = at::cat(rows_), all = vectors(probes);
    std::vector<Search> found(probes.subjects.size());
    for (std::int64_t begin = 0; begin < all.size(0); begin += kProbes) {
      const std::int64_t count = std::min(kProbes, all.size(0) - begin);
      const at::Tensor scores = exact_scores(all.narrow(0, begin, count), gallery);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto probe = static_cast<std::size_t>(begin + i);
        found[probe] = look(scores.const_data_ptr<double>() + i * std::ssize(subjects_),
                            probes.subjects[probe], other);
      }
    }
    return found;
  }

 private:
  /// Unit vectors of templates, [n, dim].
  at::Tensor vectors(const IjbSubjects& of) const {
    at::Tensor rows = at::empty({std::ssize(of.templates), templates_.dim}, at::kDouble);
    for (std::size_t i = 0; i < of.templates.size(); ++i) {
      const auto place = std::ranges::lower_bound(templates_.ids, of.templates[i]);
      if (place == templates_.ids.end() || *place != of.templates[i])
        throw Error("no image belongs to template " + std::to_string(of.templates[i]));
      const double* const from =
          templates_.values.data() + (place - templates_.ids.begin()) * templates_.dim;
      std::copy_n(from, templates_.dim,
                  rows.mutable_data_ptr<double>() + static_cast<std::int64_t>(i) * templates_.dim);
    }
    return rows;
  }

  template <typename Other>
  Search look(const double* scores, std::int32_t subject, const Other& other) const {
    Search found;
    for (std::size_t g = 0; g < subjects_.size(); ++g) {
      if (subjects_[g] == subject) {
        found.mate = std::max(found.mate, scores[g]);
      } else {
        found.highest = std::max(found.highest, scores[g]);
        other(scores[g]);
      }
    }
    found.rank = 1;
    for (std::size_t g = 0; g < subjects_.size(); ++g)
      found.rank += subjects_[g] != subject && scores[g] >= found.mate;
    return found;
  }

  const IjbTemplates& templates_;
  std::vector<std::int32_t> subjects_;
  std::vector<at::Tensor> rows_;
};

/// Collects the highest of the scores that it is given one by one.
class Highest {
 public:
  explicit Highest(std::size_t most) : most_(most) {}

  void add(double score) {
    if (score <= floor_) return;
    scores_.push_back(score);
    if (scores_.size() >= 2 * most_ + 1024) cut();
  }
  /// The score of rank 1, 2, …; −∞ if there are fewer.
  double of_rank(std::size_t rank) {
    if (rank == 0 || rank > scores_.size()) return kNone;
    std::ranges::nth_element(scores_, scores_.begin() + static_cast<std::ptrdiff_t>(rank) - 1,
                             std::greater());
    return scores_[rank - 1];
  }

 private:
  void cut() {
    floor_ = of_rank(most_);
    scores_.resize(most_);
  }

  std::size_t most_;
  double floor_ = kNone;
  std::vector<double> scores_;
};

using RankCounts = std::array<std::int64_t, IjbIdentification::kRanks.size()>;

/// How many probes have their mate at a rank or before it.
RankCounts found_by_rank(const std::vector<Search>& searches) {
  RankCounts found{};
  for (std::size_t i = 0; i < found.size(); ++i) {
    found[i] = std::ranges::count_if(searches, [&](const Search& s) {
      return s.mate > kNone && s.rank <= IjbIdentification::kRanks[i];
    });
  }
  return found;
}

void set_rates(IjbIdentification& result, const RankCounts& found, std::int64_t of) {
  for (std::size_t i = 0; i < found.size(); ++i)
    result.rank_rates[i] = static_cast<double>(found[i]) / static_cast<double>(of);
}

/// The result without a TPIR.
IjbIdentification count_ranks(std::string count, std::string gallery,
                              const std::vector<Search>& searches) {
  IjbIdentification result{.count = std::move(count), .gallery = std::move(gallery)};
  result.mated = std::ranges::count_if(searches, [](const Search& s) { return s.mate > kNone; });
  result.non_mated = std::ssize(searches) - result.mated;
  if (result.mated == 0) throw Error("no probe's subject is in gallery " + result.gallery);
  set_rates(result, found_by_rank(searches), result.mated);
  return result;
}

double share_above(const std::vector<Search>& searches, double threshold, std::int64_t most_rank,
                   std::int64_t of) {
  const auto found = std::ranges::count_if(searches, [&](const Search& s) {
    return s.mate > threshold && s.mate > kNone && s.rank <= most_rank;
  });
  return static_cast<double>(found) / static_cast<double>(of);
}

/// place(FPIR, n) says which of the n highest scores of probes without a mate is the threshold: 0
/// is the highest; n means none.
template <typename Place>
IjbIdentification count_gallery(std::string count, const IjbSubjects& gallery,
                                const std::vector<Search>& searches, const Place& place) {
  IjbIdentification result = count_ranks(std::move(count), gallery.name, searches);
  std::vector<double> highest;
  for (const Search& s : searches)
    if (s.mate == kNone) highest.push_back(s.highest);
  std::ranges::sort(highest, std::greater());
  for (std::size_t i = 0; i < result.tpir.size() && !highest.empty(); ++i) {
    const std::int64_t at = place(IjbIdentification::kFpirs[i], std::ssize(highest));
    const double threshold =
        at < std::ssize(highest) ? highest[static_cast<std::size_t>(at)] : kNone;
    result.tpir[i] = share_above(searches, threshold, 1, result.mated);
  }
  return result;
}

std::int64_t place_in_the_field(double fpir, std::int64_t n) {
  return std::max<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(n) * fpir) - 1, 0);
}

IjbIdentification joined(const IjbTemplates& templates, const IjbSet& set) {
  std::vector<const IjbSubjects*> parts;
  std::string names;
  for (const IjbSubjects& gallery : set.galleries) {
    parts.push_back(&gallery);
    names += (names.empty() ? "" : " + ") + gallery.name;
  }
  const auto ranks_of = [&](double fpir, std::int64_t probes) {
    return static_cast<std::size_t>(std::ceil(static_cast<double>(probes) * fpir));
  };
  Highest highest(ranks_of(IjbIdentification::kFpirs.back(), std::ssize(set.probes.subjects)));
  const auto searches =
      Gallery(templates, parts).search(set.probes, [&](double score) { highest.add(score); });
  IjbIdentification result = count_ranks("joined", names, searches);
  for (std::size_t i = 0; i < result.tpir.size(); ++i) {
    const double threshold = highest.of_rank(ranks_of(IjbIdentification::kFpirs[i], result.mated));
    result.tpir[i] =
        share_above(searches, threshold, std::numeric_limits<std::int64_t>::max(), result.mated);
  }
  return result;
}

IjbIdentification mean_of(const std::vector<IjbIdentification>& results) {
  IjbIdentification mean{.count = results.front().count, .gallery = "mean"};
  const auto n = static_cast<double>(results.size());
  for (const IjbIdentification& one : results) {
    mean.mated += one.mated;
    mean.non_mated += one.non_mated;
    for (std::size_t i = 0; i < mean.rank_rates.size(); ++i)
      mean.rank_rates[i] += one.rank_rates[i] / n;
  }
  for (std::size_t i = 0; i < mean.tpir.size(); ++i) {
    double sum = 0;
    const bool all = std::ranges::all_of(
        results, [&](const IjbIdentification& one) { return one.tpir[i].has_value(); });
    for (const IjbIdentification& one : results) sum += one.tpir[i].value_or(0);
    if (all) mean.tpir[i] = sum / n;
  }
  return mean;
}

}  // namespace

std::vector<IjbIdentification> identify_templates(const IjbTemplates& templates,
                                                  const IjbSet& set) {
  if (set.galleries.empty()) return {};
  std::vector<IjbIdentification> results, standard;
  RankCounts found{};
  for (const IjbSubjects& gallery : set.galleries) {
    const auto searches = Gallery(templates, {&gallery}).search(set.probes, [](double) {});
    results.push_back(count_gallery("per gallery", gallery, searches, place_in_the_field));
    standard.push_back(count_gallery("standard", gallery, searches, allowed_accepts));
    std::ranges::transform(found, found_by_rank(searches), found.begin(), std::plus());
  }
  results.push_back(mean_of(results));
  set_rates(results.back(), found, std::ssize(set.probes.subjects));
  results.push_back(joined(templates, set));
  standard.push_back(mean_of(standard));
  results.insert(results.end(), standard.begin(), standard.end());
  return results;
}

}  // namespace pfc
