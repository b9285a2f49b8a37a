#include "data/read_ahead.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "plan/epoch_order.h"

namespace pfc {
namespace {

/// Notes which images it was told will be needed.
class Told : public Dataset {
 public:
  explicit Told(std::int64_t images) {
    labels_.resize(static_cast<std::size_t>(images));
    identities_ = 1;
    times.resize(labels_.size());
  }
  std::span<const std::byte> image(std::int64_t, std::vector<std::byte>&) const override {
    throw std::logic_error("not read here");
  }
  void will_need(std::int64_t first, std::int64_t count) const override {
    for (std::int64_t i = first; i < first + count; ++i) ++times.at(static_cast<std::size_t>(i));
  }
  std::string key(std::int64_t index) const override { return std::to_string(index); }
  void exclude(std::int64_t, const std::string&) override {}

  mutable std::vector<int> times;
};

TEST(ReadAhead, TellsOfEveryImageBeforeItsStepAndOnceAnEpoch) {
  const std::int64_t images = 7 * EpochOrder::kBlock + 300;
  const Told dataset(images);
  const StepPlannerOptions options{.seed = 4, .batch_size = 256, .window = 2 * EpochOrder::kBlock};
  ReadAhead read_ahead(dataset, options);
  std::vector<int> used(dataset.times.size());
  for (std::int64_t step = 0; step < 3 * images / 256; ++step) {
    read_ahead.before(step);
    for (std::int64_t position = step * 256; position < (step + 1) * 256; ++position) {
      EpochOrder order(images, options.window, options.seed, position / images);
      const auto image = static_cast<std::size_t>(order.image(position % images));
      ASSERT_LT(used[image], dataset.times[image]) << "step " << step;
      ++used[image];
    }
    // Never further ahead than the rest of a window and the next window.
    for (std::size_t image = 0; image < used.size(); ++image)
      ASSERT_LE(dataset.times[image], used[image] + 2) << "step " << step;
  }
}

TEST(ReadAhead, BeginsWithTheWindowOfAResumedStep) {
  const std::int64_t images = 8 * EpochOrder::kBlock;
  const Told dataset(images);
  const StepPlannerOptions options{
      .seed = 4, .batch_size = EpochOrder::kBlock, .window = 2 * EpochOrder::kBlock};
  ReadAhead read_ahead(dataset, options);
  read_ahead.before(3);  // the second block of the second window
  std::int64_t told = 0;
  for (const int times : dataset.times) told += times;
  EXPECT_EQ(told, 4 * EpochOrder::kBlock);  // this window and the next
}

TEST(ReadAhead, IsSilentWithoutAWindow) {
  const Told dataset(5 * EpochOrder::kBlock);
  ReadAhead(dataset, {.batch_size = 64}).before(0);
  for (const int times : dataset.times) EXPECT_EQ(times, 0);
}

}  // namespace
}  // namespace pfc
