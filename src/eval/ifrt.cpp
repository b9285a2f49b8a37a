#include "pfc/eval/ifrt.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <mutex>
#include <numeric>
#include <set>
#include <utility>

#include "eval/lowest_pairs.h"
#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/comm/long_work.h"
#include "pfc/eval/impostor_scores.h"

namespace pfc {
namespace {

struct Person {
  std::string group, identity;
  auto operator<=>(const Person&) const = default;
};

/// `place` says where the name was read.
template <typename Place>
Person person_of(const std::string& name, const Place& place) {
  const std::size_t image = name.rfind('/');
  if (image == name.npos || image == 0) {
    throw Error(place() + ": found the name \"" + printable(name) +
                "\", want GROUP/IDENTITY/IMAGE or IDENTITY/IMAGE");
  }
  const std::size_t identity = name.rfind('/', image - 1);
  if (identity == name.npos) return {"", name.substr(0, image)};
  return {name.substr(0, identity), name.substr(identity + 1, image - identity - 1)};
}

template <typename Groups>
void require_group(const std::string& name, const Groups& groups) {
  if (std::ranges::find(groups, name) != groups.end()) return;
  std::string known;
  for (const std::string& each : groups) known += (known.empty() ? "" : ", ") + each;
  throw Error("no group " + name + " among the names; there is " + known);
}

/// Every pair of groups has a histogram, which takes memory.
void require_few_groups(std::size_t groups) {
  constexpr std::size_t kMost = 100;
  if (groups <= kMost) return;
  throw Error("the names have " + counted(static_cast<std::int64_t>(groups), "group") +
              ", want at most " + std::to_string(kMost) +
              "; a group is the folders above IDENTITY/IMAGE, as in GROUP/IDENTITY/IMAGE");
}

/// Images [begin, end) of the ordered rows.
struct Span {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

/// Rows in the order of groups and identities.
class OrderedRows {
 public:
  explicit OrderedRows(const Features& features) {
    const auto n = static_cast<std::size_t>(features.count());
    std::vector<Person> people(n);
    for (std::size_t i = 0; i < n; ++i)
      people[i] = person_of(features.name(static_cast<std::int64_t>(i)),
                            [&] { return features.place(static_cast<std::int64_t>(i)); });
    order_.resize(n);
    std::iota(order_.begin(), order_.end(), std::int64_t{0});
    std::ranges::stable_sort(order_, {}, [&](std::int64_t i) -> const Person& {
      return people[static_cast<std::size_t>(i)];
    });
    for (std::int64_t i = 0; i < features.count(); ++i) {
      Person& person = people[static_cast<std::size_t>(row(i))];
      if (groups_.empty() || names_.back() != person.group) {
        groups_.push_back({i, i});
        names_.push_back(person.group);
      }
      if (identities_.empty() || identities_.back().begin < groups_.back().begin ||
          identity_names_.back() != person.identity) {
        identities_.push_back({i, i});
        identity_names_.push_back(std::move(person.identity));
      }
      identities_.back().end = groups_.back().end = i + 1;
    }
    rows_ = at::empty({features.count(), features.dim()}, at::kFloat);
    zeros_ =
        read_unit_rows(features, order_,
                       {rows_.mutable_data_ptr<float>(), static_cast<std::size_t>(rows_.numel())});
  }

  std::int64_t row(std::int64_t place) const { return order_[static_cast<std::size_t>(place)]; }
  const std::vector<Span>& groups() const { return groups_; }
  const std::string& group_name(std::size_t group) const { return names_[group]; }
  const std::vector<Span>& identities() const { return identities_; }
  const std::string& identity_name(std::size_t identity) const { return identity_names_[identity]; }
  std::int64_t zeros() const { return zeros_; }
  at::Tensor rows(Span span) const { return rows_.narrow(0, span.begin, span.size()); }
  double score(std::int64_t a, std::int64_t b) const { return exact_score<float>(at(a), at(b)); }

  std::size_t group(const std::string& name) const {
    require_group(name, names_);
    return static_cast<std::size_t>(std::ranges::find(names_, name) - names_.begin());
  }

 private:
  std::span<const float> at(std::int64_t place) const {
    const auto dim = static_cast<std::size_t>(rows_.size(1));
    return {rows_.const_data_ptr<float>() + static_cast<std::size_t>(place) * dim, dim};
  }

  std::vector<std::int64_t> order_;
  std::vector<Span> groups_, identities_;
  std::vector<std::string> names_, identity_names_;
  at::Tensor rows_;
  std::int64_t zeros_ = 0;
};

/// The work to do: sets of impostor pairs with the places of their rows and columns, and groups,
/// each made of some sets.
struct Protocol {
  struct Set {
    ImpostorPairs pairs;
    std::int64_t first_row = 0, first_column = 0;
  };
  struct Group {
    std::string name;
    std::vector<std::size_t> sets = {};
    std::int64_t identities = 0, images = 0;
    std::vector<std::pair<Span, Span>> genuine =
        {};  ///< the pairs of each identity; equal spans: within the identity
  };
  std::vector<Set> sets;
  std::vector<Group> groups;

  std::vector<ImpostorPairs> pairs() const {
    std::vector<ImpostorPairs> result;
    for (const Set& set : sets) result.push_back(set.pairs);
    return result;
  }
};

std::vector<Span> identities_in(const OrderedRows& rows, Span group) {
  std::vector<Span> result;
  for (const Span& identity : rows.identities()) {
    if (identity.begin >= group.begin && identity.end <= group.end) result.push_back(identity);
  }
  return result;
}

/// Every pair within the group once: a row with the columns after its identity.
ImpostorPairs pairs_within(const OrderedRows& rows, Span group) {
  ImpostorPairs pairs{rows.rows(group), rows.rows(group), {}};
  for (const Span& identity : identities_in(rows, group)) {
    pairs.excluded.insert(pairs.excluded.end(), static_cast<std::size_t>(identity.size()),
                          {0, identity.end - group.begin});
  }
  return pairs;
}

Protocol all_against_all(const OrderedRows& rows) {
  require_few_groups(rows.groups().size());
  Protocol protocol;
  Protocol::Group all{.name = "ALL"};
  for (std::size_t g = 0; g < rows.groups().size(); ++g) {
    const Span group = rows.groups()[g];
    Protocol::Group one{.name = rows.group_name(g),
                        .sets = {protocol.sets.size()},
                        .identities = 0,
                        .images = group.size()};
    for (const Span& identity : identities_in(rows, group)) {
      ++one.identities;
      one.genuine.emplace_back(identity, identity);
    }
    protocol.sets.push_back({pairs_within(rows, group), group.begin, group.begin});
    all.identities += one.identities;
    all.images += one.images;
    all.genuine.insert(all.genuine.end(), one.genuine.begin(), one.genuine.end());
    protocol.groups.push_back(std::move(one));
  }
  for (std::size_t g = 0; g < rows.groups().size(); ++g) {
    for (std::size_t h = g + 1; h < rows.groups().size(); ++h) {
      const Span a = rows.groups()[g], b = rows.groups()[h];
      protocol.sets.push_back({{rows.rows(a), rows.rows(b), {}}, a.begin, b.begin});
    }
  }
  if (protocol.groups.size() == 1) {
    protocol.groups.front().name = all.name;
    return protocol;
  }
  all.sets.resize(protocol.sets.size());
  std::iota(all.sets.begin(), all.sets.end(), std::size_t{0});
  protocol.groups.push_back(std::move(all));
  return protocol;
}

Protocol one_against_the_other(const OrderedRows& rows, const IfrtOptions& options) {
  const std::size_t first = rows.group(options.between_first);
  const std::size_t second = rows.group(options.between_second);
  const Span a = rows.groups()[first], b = rows.groups()[second];
  Protocol protocol;
  Protocol::Group group{.name = options.between_first + " against " + options.between_second,
                        .sets = {0},
                        .identities = 0,
                        .images = a.size() + b.size()};
  std::vector<std::pair<std::string_view, Span>> others;  // in the order of their names
  for (std::size_t i = 0; i < rows.identities().size(); ++i) {
    const Span identity = rows.identities()[i];
    if (identity.begin >= b.begin && identity.end <= b.end)
      others.emplace_back(rows.identity_name(i), identity);
  }
  ImpostorPairs pairs{rows.rows(a), rows.rows(b), {}};
  Span behind{0, 0};  // for an identity that the other group lacks: an empty span
  for (std::size_t i = 0; i < rows.identities().size(); ++i) {
    const Span identity = rows.identities()[i];
    if (identity.begin < a.begin || identity.end > a.end) continue;
    const auto other = std::ranges::lower_bound(others, std::string_view(rows.identity_name(i)), {},
                                                [](const auto& each) { return each.first; });
    ImpostorPairs::Range excluded{behind.end, behind.end};
    if (other != others.end() && other->first == rows.identity_name(i)) {
      group.genuine.emplace_back(identity, other->second);
      ++group.identities;
      excluded = {other->second.begin - b.begin, other->second.end - b.begin};
      behind.end = excluded.end;
    }
    pairs.excluded.insert(pairs.excluded.end(), static_cast<std::size_t>(identity.size()),
                          excluded);
  }
  protocol.sets.push_back({std::move(pairs), a.begin, b.begin});
  protocol.groups.push_back(std::move(group));
  return protocol;
}

/// The scores of a group's genuine pairs, ascending. The lowest pairs go into `hardest`.
std::vector<double> genuine_scores(const OrderedRows& rows, const Protocol::Group& group,
                                   std::vector<NamedPair>& hardest) {
  std::vector<double> scores;
  std::mutex mutex;
  const auto work = [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> mine;
    std::vector<NamedPair> lowest;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto& [first, second] = group.genuine[static_cast<std::size_t>(i)];
      for (std::int64_t a = first.begin; a < first.end; ++a) {
        for (std::int64_t b = first.begin == second.begin ? a + 1 : second.begin; b < second.end;
             ++b) {
          mine.push_back(rows.score(a, b));
          keep_lowest(lowest, {mine.back(), rows.row(a), rows.row(b)});
        }
      }
    }
    const std::lock_guard lock(mutex);
    scores.insert(scores.end(), mine.begin(), mine.end());
    for (const NamedPair& pair : lowest) keep_lowest(hardest, pair);
  };
  at::parallel_for(0, std::ssize(group.genuine), 64, work);
  std::ranges::sort(scores);
  return scores;
}

}  // namespace

void require_ifrt_names(std::span<const std::string> names, const IfrtOptions& options) {
  std::set<std::string> groups;
  for (const std::string& name : names)
    groups.insert(person_of(name, [&] { return printable(name); }).group);
  if (options.between_first.empty()) return require_few_groups(groups.size());
  require_group(options.between_first, groups);
  require_group(options.between_second, groups);
}

IfrtResult evaluate_ifrt(const Features& features, const IfrtOptions& options, Communicator& comm) {
  const auto rows = long_work(comm, [&] { return OrderedRows(features); });
  const Protocol protocol =
      options.between_first.empty() ? all_against_all(rows) : one_against_the_other(rows, options);
  const std::vector<ImpostorPairs> pairs = protocol.pairs();
  const ImpostorScores impostors(pairs, comm, {.progress = options.progress});

  IfrtResult result;
  result.zeros = rows.zeros();
  result.single = std::ranges::count_if(rows.identities(),
                                        [](const Span& identity) { return identity.size() == 1; });
  std::vector<std::vector<double>> genuine(protocol.groups.size());
  std::vector<ImpostorScores::Question> questions;
  for (std::size_t g = 0; g < protocol.groups.size(); ++g) {
    const Protocol::Group& group = protocol.groups[g];
    std::vector<NamedPair> hardest;
    genuine[g] = genuine_scores(rows, group, hardest);
    if (g + 1 == protocol.groups.size()) result.hardest_genuine = std::move(hardest);
    GroupResult& one = result.groups.emplace_back();
    one.name = group.name;
    one.identities = group.identities;
    one.images = group.images;
    one.genuine = std::ssize(genuine[g]);
    one.genuine_histogram = score_histogram(genuine[g]);
    one.impostor_histogram.resize(ImpostorScores::kBins);
    for (const std::size_t set : group.sets) {
      one.impostors += pairs[set].count();
      std::ranges::transform(one.impostor_histogram, impostors.histogram(set),
                             one.impostor_histogram.begin(), std::plus());
    }
    if (one.genuine == 0 || one.impostors == 0) continue;
    for (const double far : options.fars)
      questions.push_back({.sets = group.sets, .genuine = genuine[g], .far = far});
  }
  const std::vector<AcceptRate> rates = impostors.answer(questions);
  auto next = rates.begin();
  for (GroupResult& group : result.groups) {
    if (group.genuine == 0 || group.impostors == 0) continue;
    group.rates.assign(next, next + std::ssize(options.fars));
    next += std::ssize(options.fars);
  }
  for (std::size_t set = 0; set < pairs.size(); ++set) {
    for (const ScoredPair& pair : impostors.hardest(set)) {
      result.hardest_impostors.push_back({pair.score,
                                          rows.row(protocol.sets[set].first_row + pair.row),
                                          rows.row(protocol.sets[set].first_column + pair.column)});
    }
  }
  std::ranges::sort(result.hardest_impostors, std::greater(), &NamedPair::score);
  if (result.hardest_impostors.size() > ImpostorScores::kHardest)
    result.hardest_impostors.resize(ImpostorScores::kHardest);
  return result;
}

}  // namespace pfc
