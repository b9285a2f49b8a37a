#include "pfc/data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <numeric>
#include <set>

#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

constexpr std::size_t kImageBytes = std::size_t{kFaceSize} * kFaceSize * 3;

RgbImage picture(int number, int width = kFaceSize) {
  RgbImage image{width, kFaceSize, {}};
  for (int y = 0; y < kFaceSize; ++y) {
    for (int x = 0; x < width; ++x) {
      image.pixels.push_back(static_cast<std::uint8_t>(2 * x));
      image.pixels.push_back(static_cast<std::uint8_t>(y + number));
      image.pixels.push_back(static_cast<std::uint8_t>(7 * number));
    }
  }
  return image;
}

/// Sixteen pictures; a test may spoil some of them.
class Pictures : public Dataset {
 public:
  Pictures() {
    for (int i = 0; i < 16; ++i) encoded.push_back(encode_jpeg(picture(i), 90));
    labels_.assign(16, 0);
    identities_ = 1;
  }

  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    ++reads;
    if (index == unreadable) throw DataError("train.rec", "offset 8", "magic 0x0");
    if (index == unopenable) throw IoError("train.rec", "open", EACCES);
    scratch = encoded[static_cast<std::size_t>(index)];
    return scratch;
  }
  std::string key(std::int64_t index) const override { return std::to_string(index); }
  void exclude(std::int64_t index, const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    excluded[index] = reason;
  }

  void truncate(std::size_t index) { encoded[index].resize(encoded[index].size() / 2); }

  std::vector<std::vector<std::byte>> encoded;
  std::int64_t unreadable = -1;  ///< its bytes are damaged
  std::int64_t unopenable = -1;  ///< the system refuses to read its bytes
  std::map<std::int64_t, std::string> excluded;
  mutable std::atomic<int> reads = 0;

 private:
  std::mutex mutex_;
};

constexpr std::int64_t kBatch = 12;

/// Images 5·step, 5·step + 1, … modulo 16; every third one is flipped.
StepPlan plan_at(std::int64_t step) {
  StepPlan plan;
  plan.step = step;
  for (std::int64_t i = 0; i < kBatch; ++i) {
    plan.images.push_back((5 * step + i) % 16);
    plan.mirror.push_back((step + i) % 3 == 0);
  }
  return plan;
}

std::vector<std::uint8_t> expected_pixels(const Pictures& pictures, const StepPlan& plan) {
  std::vector<std::uint8_t> all;
  for (std::size_t i = 0; i < plan.images.size(); ++i) {
    const auto pixels =
        decode_image(pictures.encoded[static_cast<std::size_t>(plan.images[i])]).pixels;
    for (std::size_t y = 0; y < kFaceSize; ++y) {
      for (std::size_t x = 0; x < kFaceSize; ++x) {
        const std::size_t from = plan.mirror[i] ? kFaceSize - 1 - x : x;
        const auto pixel = pixels.begin() + static_cast<std::ptrdiff_t>((y * kFaceSize + from) * 3);
        all.insert(all.end(), pixel, pixel + 3);
      }
    }
  }
  return all;
}

std::vector<std::uint8_t> image_of(const Batch& batch, std::size_t i) {
  const auto first = batch.pixels.begin() + static_cast<std::ptrdiff_t>(i * kImageBytes);
  return {first, first + kImageBytes};
}

/// The pixels of a step's global batch in the order of the plan, loaded by `world` ranks that began
/// at `first_step`.
std::vector<std::uint8_t> augmented_batch(std::int64_t step, std::int64_t first_step, int world,
                                          int threads) {
  AugmentationValues values = usual_augmentation_values();
  std::vector<std::string> names;
  for (const Augmentation* each : augmentations()) {
    names.push_back(each->name);
    values[each->name + ".probability"] = 0.5;
  }
  std::vector<std::uint8_t> all;
  for (int rank = 0; rank < world; ++rank) {
    Pictures pictures;
    Loader loader(pictures, plan_at, first_step, rank, world,
                  {.threads = threads, .prefetch = 2, .augmenter = Augmenter(names, values, 3)});
    for (std::int64_t before = first_step; before < step; ++before) loader.next();
    const Batch batch = loader.next().second;
    all.insert(all.end(), batch.pixels.begin(), batch.pixels.end());
  }
  return all;
}

TEST(Loader, AugmentsAlikeOnAnyThreadsAndRanksAndAfterAResume) {
  const auto want = augmented_batch(4, 0, 1, 1);
  EXPECT_EQ(augmented_batch(4, 0, 1, 4), want);
  EXPECT_EQ(augmented_batch(4, 4, 1, 2), want);
  EXPECT_EQ(augmented_batch(4, 3, 3, 2), want);
  EXPECT_NE(augmented_batch(20, 20, 1, 1), want);  // the same images, sixteen steps later
}

TEST(Loader, GivesThePlannedImagesInOrderOfSteps) {
  Pictures pictures;
  Loader loader(pictures, plan_at, 7, 0, 1, {.threads = 3, .prefetch = 2});
  for (std::int64_t step = 7; step < 12; ++step) {
    auto [plan, batch] = loader.next();
    EXPECT_EQ(plan.step, step);
    EXPECT_EQ(batch.step, step);
    EXPECT_EQ(plan.images, plan_at(step).images);
    EXPECT_EQ(batch.pixels, expected_pixels(pictures, plan_at(step))) << step;
    EXPECT_EQ(batch.valid, std::vector<float>(kBatch, 1.0f));
    EXPECT_THAT(batch.corrupt, IsEmpty());
    loader.recycle(std::move(batch));
  }
  EXPECT_EQ(loader.corrupt(), 0);
  EXPECT_GE(loader.seconds_waited(), 0.0);
}

TEST(Loader, OneAndFourThreadsGiveTheSame) {
  Pictures pictures;
  pictures.truncate(3);
  pictures.truncate(11);
  const LoaderOptions one{.threads = 1, .prefetch = 1, .most_corrupt_share = 1};
  const LoaderOptions four{.threads = 4, .prefetch = 5, .most_corrupt_share = 1};
  Loader slow(pictures, plan_at, 0, 0, 1, one), fast(pictures, plan_at, 0, 0, 1, four);
  for (int step = 0; step < 16; ++step) {
    Batch a = slow.next().second, b = fast.next().second;
    EXPECT_EQ(a.pixels, b.pixels);
    EXPECT_EQ(a.valid, b.valid);
    EXPECT_EQ(a.corrupt, b.corrupt);
    slow.recycle(std::move(a));
    fast.recycle(std::move(b));
  }
  EXPECT_GT(slow.corrupt(), 0);
  EXPECT_EQ(slow.corrupt(), fast.corrupt());
}

TEST(Loader, RanksTakeTheirRowsOfTheGlobalBatch) {
  Pictures pictures;
  Loader whole(pictures, plan_at, 0, 0, 1, {});
  const Batch all = whole.next().second;
  for (int rank = 0; rank < 3; ++rank) {
    Loader loader(pictures, plan_at, 0, rank, 3, {});
    const auto [plan, batch] = loader.next();
    EXPECT_EQ(plan.images.size(), std::size_t{kBatch});
    ASSERT_EQ(batch.valid.size(), std::size_t{kBatch / 3});
    for (std::size_t i = 0; i < kBatch / 3; ++i) {
      EXPECT_EQ(image_of(batch, i), image_of(all, static_cast<std::size_t>(rank) * kBatch / 3 + i));
    }
  }
}

TEST(Loader, CorruptImagesWeighNothingAndAreReportedAndExcluded) {
  Pictures pictures;
  pictures.truncate(1);
  pictures.encoded[4] = encode_jpeg(picture(4, 96), 90);
  pictures.unreadable = 6;
  Batch batch;
  {
    Loader loader(pictures, plan_at, 0, 0, 1, {.most_corrupt_share = 1});
    batch = loader.next().second;
    EXPECT_EQ(loader.corrupt(), 3);
  }
  const std::vector<std::uint8_t> whole = expected_pixels(Pictures(), plan_at(0));
  for (std::size_t i = 0; i < kBatch; ++i) {
    const bool spoilt = i == 1 || i == 4 || i == 6;
    EXPECT_EQ(batch.valid[i], spoilt ? 0.0f : 1.0f);
    const auto first = whole.begin() + static_cast<std::ptrdiff_t>(i * kImageBytes);
    EXPECT_EQ(image_of(batch, i), spoilt ? std::vector<std::uint8_t>(kImageBytes)
                                         : std::vector<std::uint8_t>(first, first + kImageBytes))
        << i;
  }
  const std::string truncated = "corrupt JPEG: Premature end of JPEG file";
  const std::string size = "the image is 96 x 112 pixels, want 112 x 112";
  const std::string unreadable = "train.rec: offset 8: magic 0x0";
  EXPECT_THAT(batch.corrupt,
              ElementsAre("image 1: " + truncated, "image 4: " + size, "image 6: " + unreadable));
  EXPECT_EQ(pictures.excluded,
            (std::map<std::int64_t, std::string>{{1, truncated}, {4, size}, {6, unreadable}}));
}

TEST(Loader, ResizesSquaresOfAnySizeWhereItIsAskedTo) {
  Pictures pictures;
  pictures.encoded[0] = encode_png({1, 1, {10, 20, 30}});
  RgbImage large{336, 336, {}};  // three times the picture, pixel by pixel
  const RgbImage small = decode_image(pictures.encoded[1]);
  for (std::size_t y = 0; y < 336; ++y) {
    for (std::size_t x = 0; x < 336; ++x) {
      const auto pixel =
          small.pixels.begin() + static_cast<std::ptrdiff_t>(3 * (y / 3 * kFaceSize + x / 3));
      large.pixels.insert(large.pixels.end(), pixel, pixel + 3);
    }
  }
  pictures.encoded[1] = encode_png(large);
  pictures.encoded[2] = encode_png(picture(4, 96));
  Loader loader(pictures, plan_at, 0, 0, 1, {.most_corrupt_share = 1, .resize = true});
  const Batch batch = loader.next().second;
  const auto plain = expected_pixels(Pictures(), plan_at(0));
  EXPECT_THAT(
      batch.corrupt,
      ElementsAre("image 2: the image is 96 x 112 pixels, want 112 x 112 or another square"));
  const std::vector<std::uint8_t> first = image_of(batch, 0);
  for (std::size_t i = 0; i < first.size(); ++i) ASSERT_EQ(first[i], 10 * (i % 3 + 1)) << i;
  for (const std::size_t i : {1, 3, 4}) {  // the middle pixel of nine, and pictures as they were
    const auto begin = plain.begin() + static_cast<std::ptrdiff_t>(i * kImageBytes);
    EXPECT_EQ(image_of(batch, i), std::vector<std::uint8_t>(begin, begin + kImageBytes)) << i;
  }
}

TEST(Loader, ABufferThatHeldACorruptImageIsAsGoodAsNew) {
  Pictures pictures;
  pictures.truncate(0);
  Loader loader(pictures, plan_at, 0, 0, 1, {.threads = 1, .prefetch = 1, .most_corrupt_share = 1});
  Batch spoilt = loader.next().second;
  ASSERT_EQ(spoilt.valid[0], 0.0f);
  loader.recycle(std::move(spoilt));
  loader.recycle(loader.next().second);
  const Batch again = loader.next().second;  // images 10 to 15, then 0 to 5
  EXPECT_EQ(again.valid[0], 1.0f);
  EXPECT_EQ(again.valid[6], 0.0f);
  EXPECT_THAT(again.corrupt, ElementsAre(HasSubstr("image 0")));
}

/// Enough images that a share of them means something; all are equal.
class ManyPictures : public Pictures {
 public:
  explicit ManyPictures(std::set<std::int64_t> spoilt) : spoilt_(std::move(spoilt)) {
    labels_.assign(2000, 0);
    truncate(0);
  }

  std::span<const std::byte> image(std::int64_t index,
                                   std::vector<std::byte>& scratch) const override {
    return Pictures::image(spoilt_.contains(index) ? 0 : 1, scratch);
  }

 private:
  std::set<std::int64_t> spoilt_;
};

/// A hundred images for each step, one after another.
StepPlan next_hundred(std::int64_t step) {
  StepPlan plan;
  plan.images.resize(100);
  std::iota(plan.images.begin(), plan.images.end(), 100 * step);
  plan.mirror.assign(100, 0);
  return plan;
}

TEST(Loader, OneCorruptImageInTheFirstThousandIsWithinOnePerMille) {
  ManyPictures pictures({50, 1950});
  Loader loader(pictures, next_hundred, 0, 0, 1, {});
  for (int step = 0; step < 20; ++step) EXPECT_NO_THROW(loader.recycle(loader.next().second));
  EXPECT_EQ(loader.corrupt(), 2);  // of 2,000
}

TEST(Loader, MoreCorruptImagesThanTheShareStopTheRun) {
  ManyPictures pictures({50, 1850});
  Loader loader(pictures, next_hundred, 0, 0, 1, {});
  for (int step = 0; step < 18; ++step) loader.recycle(loader.next().second);
  for (int times = 0; times < 2; ++times) {
    EXPECT_THAT([&] { loader.next(); },
                ThrowsMessage<Error>("2 of 1,900 images were corrupt, more than the share of 0.001 "
                                     "that is allowed (data.max_corrupt_share); the last one: "
                                     "image 1850: corrupt JPEG: Premature end of JPEG file"));
  }
}

TEST(Loader, ASecondCorruptImageInTheFirstThousandStopsTheRunAtOnce) {
  ManyPictures pictures({50, 150});
  Loader loader(pictures, next_hundred, 0, 0, 1, {});
  loader.next();
  EXPECT_THROW(loader.next(), Error);
}

TEST(Loader, AnImageThatComesAgainInEveryEpochIsCountedOnce) {
  Pictures pictures;
  pictures.truncate(1);
  Loader loader(pictures, plan_at, 0, 0, 1, {});  // of which two corrupt images are too many
  for (int step = 0; step < 20; ++step) loader.recycle(loader.next().second);
  EXPECT_EQ(loader.corrupt(), 1);
}

TEST(Loader, AnImageThatComesTwiceInABatchIsCountedOnce) {
  Pictures pictures;
  pictures.truncate(3);
  const auto plan = [](std::int64_t) {
    StepPlan twice;
    twice.images = {3, 4, 5, 3};
    twice.mirror.assign(4, 0);
    return twice;
  };
  Loader loader(pictures, plan, 0, 0, 1, {});
  EXPECT_THAT(loader.next().second.corrupt, testing::SizeIs(2));
  EXPECT_EQ(loader.corrupt(), 1);
}

TEST(Loader, AnErrorOfThePlanComesAtItsStep) {
  Pictures pictures;
  const auto plan = [](std::int64_t step) {
    if (step == 3) throw Error("no plan for step 3");
    return plan_at(step);
  };
  Loader loader(pictures, plan, 0, 0, 1, {.prefetch = 8});
  for (int step = 0; step < 3; ++step) EXPECT_EQ(loader.next().first.step, step);
  EXPECT_THAT([&] { loader.next(); }, ThrowsMessage<Error>("no plan for step 3"));
  EXPECT_THAT([&] { loader.next(); }, ThrowsMessage<Error>("no plan for step 3"));
}

TEST(Loader, AnErrorThatIsNotAboutAnImageStopsTheRun) {
  Pictures pictures;
  pictures.unopenable = 9;
  {
    Loader loader(pictures, plan_at, 0, 0, 1, {.most_corrupt_share = 1});
    EXPECT_THAT([&] { loader.next(); },
                ThrowsMessage<IoError>("train.rec: cannot open: Permission denied"));
  }
  EXPECT_THAT(pictures.excluded, IsEmpty());
}

TEST(Loader, APlanThatDoesNotSplitOverTheRanksIsAnError) {
  Pictures pictures;
  Loader loader(pictures, plan_at, 0, 0, 5, {});
  EXPECT_THAT([&] { loader.next(); }, ThrowsMessage<Error>(HasSubstr("12 images")));
}

TEST(Loader, WantsAThreadAndABatchAhead) {
  Pictures pictures;
  EXPECT_THROW(Loader(pictures, plan_at, 0, 0, 1, {.threads = 0}), Error);
  EXPECT_THROW(Loader(pictures, plan_at, 0, 0, 1, {.prefetch = 0}), Error);
}

TEST(Loader, PlansInOrderOneAtATimeAndNoFurtherThanItMay) {
  Pictures pictures;
  std::atomic<int> planning = 0;
  std::atomic<std::int64_t> taken = 0;
  std::vector<std::int64_t> steps;
  {
    Loader loader(pictures,
                  [&](std::int64_t step) {
                    EXPECT_EQ(++planning, 1);
                    EXPECT_LE(step, taken + 3);  // at most three ahead of the requested ones
                    steps.push_back(step);
                    --planning;
                    return plan_at(step);
                  },
                  0, 0, 1, {.threads = 4, .prefetch = 3});
    for (int i = 0; i < 30; ++i) {
      ++taken;
      loader.recycle(loader.next().second);
    }
  }
  for (std::size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], static_cast<std::int64_t>(i));
}

TEST(Loader, RecycledMemoryIsUsedAgain) {
  Pictures pictures;
  Loader loader(pictures, plan_at, 0, 0, 1, {.threads = 4, .prefetch = 3});
  std::set<const std::uint8_t*> buffers;
  for (int step = 0; step < 50; ++step) {
    Batch batch = loader.next().second;
    buffers.insert(batch.pixels.data());
    loader.recycle(std::move(batch));
  }
  EXPECT_LE(buffers.size(), 4u);  // three ahead, and the one in use
}

TEST(Loader, StopsWithoutDecodingWhatWasAskedFor) {
  Pictures pictures;
  constexpr int kAhead = 2000;
  { Loader loader(pictures, plan_at, 0, 0, 1, {.threads = 4, .prefetch = kAhead}); }
  EXPECT_LT(pictures.reads, kAhead * kBatch);
}

}  // namespace
}  // namespace pfc
