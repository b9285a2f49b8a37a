#include "pfc/data/held_out.h"

#include <algorithm>
#include <set>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"
#include "pfc/data/verification_set.h"

namespace pfc {

HeldOut::HeldOut(const HeldOutOptions& options, std::span<const std::int64_t> counts)
    : options_(options) {
  choose(counts);
  if (options.pairs > 0) draw_pairs(counts);
}

void HeldOut::choose(std::span<const std::int64_t> counts) {
  std::vector<std::int64_t> candidates;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] >= 2) candidates.push_back(static_cast<std::int64_t>(i));
  const auto identities = std::ranges::count_if(counts, [](std::int64_t n) { return n > 0; });
  if (options_.identities < 2 || options_.identities > std::ssize(candidates) ||
      options_.identities >= identities) {
    throw Error("cannot hold out " + counted(options_.identities, "identity") + ": of " +
                counted(identities, "identity") + " " + grouped(std::ssize(candidates)) +
                " have two images or more, and 2 must be held out and one must be left");
  }
  const Permutation order(std::ssize(candidates),
                          CounterRandom(options_.seed, RandomStream::kHeldOut), 0);
  held_.resize(counts.size());
  for (std::int64_t i = 0; i < options_.identities; ++i) {
    const std::int64_t identity = candidates[static_cast<std::size_t>(order(i))];
    held_[static_cast<std::size_t>(identity)] = true;
    chosen_.push_back(identity);
  }
  std::ranges::sort(chosen_);
  std::int64_t held = 0, left = 0;
  for (std::size_t i = 0; i < counts.size(); ++i)
    numbers_.push_back(counts[i] == 0 ? -1 : held_[i] ? held++ : left++);
}

void HeldOut::draw_pairs(std::span<const std::int64_t> counts) {
  const CounterRandom random(options_.seed, RandomStream::kHeldOut);
  const auto images = [&](std::int64_t identity) {
    return counts[static_cast<std::size_t>(identity)];
  };
  std::int64_t of_one = 0, all = 0, squares = 0;
  for (const std::int64_t identity : chosen_) {
    of_one += images(identity) * (images(identity) - 1) / 2;
    all += images(identity);
    squares += images(identity) * images(identity);
  }
  const std::int64_t possible = std::min(of_one, (all * all - squares) / 2);
  if (options_.pairs % 20 != 0 || options_.pairs / 2 > possible / 2) {
    throw Error("cannot make " + counted(options_.pairs, "pair") +
                " of the held-out identities, want a multiple of 20, for ten folds of both "
                "kinds, and at most " +
                std::to_string(possible / 20 * 20));
  }
  std::uint64_t draw = 0;
  const auto below = [&](std::int64_t n) { return random.below(n, 1, draw++); };
  const auto some_identity = [&] {
    return chosen_[static_cast<std::size_t>(below(std::ssize(chosen_)))];
  };
  std::set<std::pair<Image, Image>> drawn;
  while (std::ssize(pairs_) < options_.pairs) {
    const bool same = pairs_.size() % 2 == 0;
    const std::int64_t one = some_identity(), other = same ? one : some_identity();
    Image first{one, below(images(one))}, second{other, below(images(other))};
    if (second < first) std::swap(first, second);
    if (first == second || (!same && one == other) || !drawn.emplace(first, second).second)
      continue;
    pairs_.push_back({first, second});
    images_[first], images_[second];
  }
}

bool HeldOut::holds(std::int64_t identity) const {
  return held_[static_cast<std::size_t>(identity)];
}

std::int64_t HeldOut::number(std::int64_t identity) const {
  return numbers_[static_cast<std::size_t>(identity)];
}

void HeldOut::keep(const Face& face) {
  const auto wanted = images_.find({face.identity, told_[face.identity]++});
  if (wanted != images_.end()) wanted->second.assign(face.image.begin(), face.image.end());
}

void HeldOut::write_pairs(const std::filesystem::path& bin) const {
  VerificationSetWriter writer(bin);
  for (const Pair& pair : pairs_) {
    writer.add(images_.at(pair.first), images_.at(pair.second),
               pair.first.first == pair.second.first);
  }
  writer.commit();
}

}  // namespace pfc
