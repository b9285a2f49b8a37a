#include "head/prefetch_queue.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <vector>

namespace pfc {
namespace {

/// A device whose lanes work in any order that their marks allow, one row at a time; `random`
/// chooses the order. A row is a number.
class FakeDevice final : public StagingDevice {
 public:
  FakeDevice(std::int64_t rows, unsigned seed)
      : table(static_cast<std::size_t>(rows)), random_(seed) {}

  void load(int slot, const SampledClasses& classes, std::span<const int> held) override {
    Slot& to = slots_.at(static_cast<std::size_t>(slot));
    put(Lane::kIn, [&to, rows = classes.rows()] {
      to.rows = rows;
      to.values.assign(rows.size(), -1);
    });
    for (std::size_t i = 0; i < classes.rows().size(); ++i) {
      put(Lane::kIn, [this, &to, i, held = std::vector(held.begin(), held.end())] {
        const LocalRow row = to.rows.at(i);
        if (std::ranges::any_of(held, [&](int other) { return has(other, row); })) return;
        to.values.at(i) = at(row);
        ++loaded;
      });
    }
  }
  void forward(int from, int to) override {
    put(Lane::kWork, [&from = slots_.at(static_cast<std::size_t>(from)),
                      &to = slots_.at(static_cast<std::size_t>(to))] {
      for (std::size_t i = 0; i < to.rows.size(); ++i) {
        const auto place = std::ranges::lower_bound(from.rows, to.rows[i]);
        if (place == from.rows.end() || *place != to.rows[i]) continue;
        to.values[i] = from.values.at(static_cast<std::size_t>(place - from.rows.begin()));
      }
    });
  }
  void store(int slot, std::optional<int> next) override {
    Slot& from = slots_.at(static_cast<std::size_t>(slot));
    // How many rows there are is known only when the lane gets there.
    put(Lane::kOut, [this, &from, next] {
      for (std::size_t i = from.rows.size(); i-- > 0;) {
        queue(Lane::kOut).push_front({.work = [this, &from, i, next] {
          if (next && has(*next, from.rows.at(i))) return;
          at(from.rows.at(i)) = from.values.at(i);
          ++stored;
        }});
      }
    });
  }
  void record(Lane lane, Mark mark, int slot) override {
    const int number = ++recorded_[{mark, slot}];
    put(lane, [this, mark, slot, number] { reached_[{mark, slot}] = number; });
  }
  void wait(Lane lane, Mark mark, int slot) override {
    const int number = recorded_[{mark, slot}];
    queue(lane).push_back({.may_begin = [this, mark, slot, number] {
      return reached_[{mark, slot}] >= number;
    }});
  }
  void finish() override {
    while (some_work()) {
    }
  }

  /// A step: the new value of a row depends on its old value.
  void update(int slot, std::int64_t step) {
    put(Lane::kWork, [&values = slots_.at(static_cast<std::size_t>(slot)).values, step] {
      for (std::int64_t& value : values) value = updated(value, step);
    });
  }
  static std::int64_t updated(std::int64_t value, std::int64_t step) {
    return (value * 31 + step) % 1'000'003;
  }
  /// Values of a slot, when all lanes but this one have done what they can.
  const std::vector<std::int64_t>& values_without(Lane stopped, int slot) {
    while (some_work(stopped)) {
    }
    return slots_.at(static_cast<std::size_t>(slot)).values;
  }
  /// Lets lanes do some of their work.
  void go_on() {
    for (auto n = random_() % 60; n > 0 && some_work(); --n) {
    }
  }

  std::vector<std::int64_t> table;
  std::int64_t loaded = 0, stored = 0;  ///< rows, from and to the table

 private:
  struct Slot {
    std::vector<LocalRow> rows;
    std::vector<std::int64_t> values;
  };
  struct Item {
    std::function<bool()> may_begin = [] { return true; };
    std::function<void()> work = [] {};
  };

  std::deque<Item>& queue(Lane lane) { return lanes_.at(static_cast<std::size_t>(lane)); }
  void put(Lane lane, std::function<void()> work) {
    queue(lane).push_back({.work = std::move(work)});
  }
  bool has(int slot, LocalRow row) const {
    return std::ranges::binary_search(slots_.at(static_cast<std::size_t>(slot)).rows, row);
  }
  std::int64_t& at(LocalRow row) { return table.at(static_cast<std::size_t>(row.v)); }

  bool some_work(std::optional<Lane> stopped = {}) {
    std::array<std::size_t, 3> order = {0, 1, 2};
    std::ranges::shuffle(order, random_);
    for (const std::size_t lane : order) {
      if (stopped && lane == static_cast<std::size_t>(*stopped)) continue;
      if (lanes_[lane].empty() || !lanes_[lane].front().may_begin()) continue;
      const Item item = std::move(lanes_[lane].front());
      lanes_[lane].pop_front();
      item.work();
      return true;
    }
    return false;
  }

  std::mt19937 random_;
  std::array<Slot, kSlots> slots_;
  std::array<std::deque<Item>, 3> lanes_;
  std::map<std::pair<Mark, int>, int> recorded_, reached_;
};

constexpr std::int64_t kClasses = 40, kSteps = 30;

class Steps {
 public:
  explicit Steps(unsigned seed)
      : device(kClasses, seed),
        queue(device),
        sampler_({0.3, Sampling::kStratified, seed}, ClassShard(kClasses, 0, 1)) {}

  SampledClasses draw(std::int64_t step) const {
    const std::vector<GlobalClass> labels = {{step % kClasses}, {step * 7 % kClasses}};
    return sampler_.draw(step, labels);
  }
  void take(std::int64_t step, bool prefetches) {
    device.update(queue.begin(draw(step)), step);
    device.go_on();
    queue.end();
    device.go_on();
    if (prefetches) queue.prefetch(draw(step + 1));
    device.go_on();
  }
  /// The table if the steps had been made one after another.
  std::vector<std::int64_t> wanted(std::int64_t steps) const {
    std::vector<std::int64_t> table(kClasses);
    for (std::int64_t step = 0; step < steps; ++step) {
      for (const LocalRow row : draw(step).rows()) {
        std::int64_t& value = table.at(static_cast<std::size_t>(row.v));
        value = FakeDevice::updated(value, step);
      }
    }
    return table;
  }

  FakeDevice device;
  PrefetchQueue queue;

 private:
  ClassSampler sampler_;
};

TEST(PrefetchQueue, GivesEveryStepWhatTheOneBeforeMadeHoweverTheLanesGetOn) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    Steps steps(seed);
    for (std::int64_t step = 0; step < kSteps; ++step) steps.take(step, /*prefetches=*/true);
    steps.queue.drain();
    ASSERT_EQ(steps.device.table, steps.wanted(kSteps)) << seed;
  }
}

TEST(PrefetchQueue, LoadsWhatWasNotPrefetchedOrNotThis) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Steps steps(seed);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      steps.take(step, /*prefetches=*/step % 3 == 0);
      if (step % 3 == 1) steps.queue.prefetch(steps.draw(999));
    }
    steps.queue.drain();
    ASSERT_EQ(steps.device.table, steps.wanted(kSteps)) << seed;
  }
}

TEST(PrefetchQueue, SeesChangesOfTheTableAfterItWasDrained) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Steps steps(seed);
    for (std::int64_t step = 0; step < 10; ++step) steps.take(step, /*prefetches=*/true);
    steps.queue.drain();
    std::ranges::fill(steps.device.table, 5);
    steps.take(10, /*prefetches=*/false);
    steps.queue.drain();
    std::vector<std::int64_t> wanted(kClasses, 5);
    for (const LocalRow row : steps.draw(10).rows())
      wanted.at(static_cast<std::size_t>(row.v)) = FakeDevice::updated(5, 10);
    ASSERT_EQ(steps.device.table, wanted) << seed;
  }
}

TEST(PrefetchQueue, MayBeDrainedInTheMiddleOfAStep) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Steps steps(seed);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const int slot = steps.queue.begin(steps.draw(step));
      if (step % 4 == 0) steps.queue.drain();
      steps.device.update(slot, step);
      steps.queue.end();
      steps.queue.prefetch(steps.draw(step + 1));
      steps.device.go_on();
    }
    steps.queue.drain();
    ASSERT_EQ(steps.device.table, steps.wanted(kSteps)) << seed;
  }
}

TEST(PrefetchQueue, PrefetchesBeforeAStepHasEndedToo) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Steps steps(seed);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const int slot = steps.queue.begin(steps.draw(step));
      if (step % 5 == 2) steps.queue.prefetch(steps.draw(999));
      steps.queue.prefetch(steps.draw(step + 1));
      if (step % 7 == 3) steps.queue.drain();
      steps.device.go_on();
      steps.device.update(slot, step);
      steps.queue.end();
      steps.device.go_on();
    }
    steps.queue.drain();
    ASSERT_EQ(steps.device.table, steps.wanted(kSteps)) << seed;
  }
}

/// Every other step begins and changes nothing.
TEST(PrefetchQueue, LosesNothingAtAStepThatDoesNotEnd) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Steps steps(seed);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      steps.take(step, /*prefetches=*/false);
      steps.queue.prefetch(steps.draw(100 + step));
      steps.queue.begin(steps.draw(100 + step));
      if (step % 2 == 0) steps.queue.prefetch(steps.draw(step + 1));
      steps.device.go_on();
    }
    steps.queue.drain();
    ASSERT_EQ(steps.device.table, steps.wanted(kSteps)) << seed;
  }
}

TEST(PrefetchQueue, ReadsAndStoresARowOnceHoweverManyStepsUseItOneAfterAnother) {
  Steps steps(/*seed=*/0);
  const SampledClasses same = steps.draw(0);
  for (std::int64_t step = 0; step < 10; ++step) {
    steps.device.update(steps.queue.begin(same), step);
    steps.queue.end();
    steps.queue.prefetch(same);
    steps.device.go_on();
  }
  steps.queue.drain();
  EXPECT_EQ(steps.device.loaded, std::ssize(same.rows()));
  EXPECT_EQ(steps.device.stored, std::ssize(same.rows()));
}

/// Rows travel both ways at once: the next step's do not wait for those of the step before.
TEST(PrefetchQueue, BringsTheNextStepsRowsWhileTheLastOnesAreNotYetStored) {
  Steps steps(/*seed=*/0);
  int slot = 0;
  for (std::int64_t step = 0; step < 3; ++step) {
    slot = steps.queue.begin(steps.draw(step));
    steps.device.update(slot, step);
    steps.queue.end();
    steps.queue.prefetch(steps.draw(step + 1));
  }
  std::vector<std::int64_t> values;
  for (const LocalRow row : steps.draw(2).rows())
    values.push_back(steps.wanted(3).at(static_cast<std::size_t>(row.v)));
  EXPECT_EQ(steps.device.values_without(StagingDevice::Lane::kOut, slot), values);
  EXPECT_EQ(steps.device.stored, 0);
}

}  // namespace
}  // namespace pfc
