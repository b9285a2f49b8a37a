#include "pfc/data/augmentation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "pfc/base/error.h"

namespace pfc {
namespace {

struct Size {
  int width, height;
};
constexpr Size kSizes[] = {{112, 112}, {1, 1}, {7, 3}, {3, 7}, {160, 40}, {1, 50}};

/// Pixels between others that an augmentation must not touch.
class Picture {
 public:
  explicit Picture(const Size& size) : size_(size), bytes_(2 * kAround + pixels()) {
    std::uint32_t value = 7;
    for (std::uint8_t& byte : bytes_) {
      value = value * 1664525 + 1013904223;
      byte = static_cast<std::uint8_t>(value >> 24);
    }
  }

  ImageView view() { return {bytes_.data() + kAround, size_.width, size_.height}; }
  std::vector<std::uint8_t> inside() const {
    const auto begin = bytes_.begin() + kAround;
    return {begin, begin + static_cast<std::ptrdiff_t>(pixels())};
  }
  std::vector<std::uint8_t> around() const {
    auto all = bytes_;
    all.erase(all.begin() + kAround, all.end() - kAround);
    return all;
  }

 private:
  static constexpr std::ptrdiff_t kAround = 512;
  std::size_t pixels() const { return static_cast<std::size_t>(size_.width * size_.height) * 3; }

  Size size_;
  std::vector<std::uint8_t> bytes_;
};

std::vector<std::uint8_t> augmented(const Augmenter& augmenter, std::int64_t step,
                                    std::int64_t place, const Size& size = {112, 112}) {
  Picture picture(size);
  augmenter.apply(picture.view(), step, place);
  return picture.inside();
}

/// The theorems hold for every augmentation that is registered.
class EveryAugmentation : public testing::TestWithParam<std::string> {
 protected:
  Augmenter with_probability(double probability, std::uint64_t seed = 1) const {
    AugmentationValues values = usual_augmentation_values();
    values[GetParam() + ".probability"] = probability;
    return {{GetParam()}, values, seed};
  }
};

TEST_P(EveryAugmentation, IsAFunctionOfPixelsSeedStepAndPlace) {
  const Augmenter augmenter = with_probability(0.5), again = with_probability(0.5);
  std::map<std::int64_t, std::vector<std::uint8_t>> first;
  for (std::int64_t place = 0; place < 16; ++place) first[place] = augmented(augmenter, 5, place);
  for (std::int64_t place = 15; place >= 0; --place)  // in another order, and by another object
    EXPECT_EQ(augmented(again, 5, place), first[place]) << place;
}

TEST_P(EveryAugmentation, WithProbability0ChangesNothing) {
  const Augmenter augmenter = with_probability(0);
  for (const Size& size : kSizes) {
    for (std::int64_t place = 0; place < 8; ++place)
      EXPECT_EQ(augmented(augmenter, 0, place, size), Picture(size).inside());
  }
}

TEST_P(EveryAugmentation, WithProbability1ChangesEveryImageButAFew) {
  const Augmenter augmenter = with_probability(1);
  int changed = 0;
  for (std::int64_t place = 0; place < 100; ++place)
    changed += augmented(augmenter, 0, place) != Picture({112, 112}).inside() ? 1 : 0;
  EXPECT_GE(changed, 95);
}

TEST_P(EveryAugmentation, ComesAsOftenAsItsProbabilityInAnyStepPlaceAndSeed) {
  constexpr int kDraws = 400;
  const auto share = [&](auto&& result) {
    int changed = 0;
    for (int i = 0; i < kDraws; ++i) changed += result(i) != Picture({7, 3}).inside() ? 1 : 0;
    return changed / static_cast<double>(kDraws);
  };
  const Augmenter augmenter = with_probability(0.5);
  const Size small{7, 3};
  const double always =
      share([&](int i) { return augmented(with_probability(1), i, 0, small); });  // below 1 where
                                                                                  // a draw is none
  EXPECT_NEAR(share([&](int i) { return augmented(augmenter, i, 0, small); }), always / 2, 0.1);
  EXPECT_NEAR(share([&](int i) { return augmented(augmenter, 0, i, small); }), always / 2, 0.1);
  EXPECT_NEAR(share([&](int i) {
                return augmented(with_probability(0.5, static_cast<std::uint64_t>(i)), 0, 0, small);
              }),
              always / 2, 0.1);
}

TEST_P(EveryAugmentation, StaysWithinTheImageAtAnySize) {
  const Augmenter augmenter = with_probability(1);
  for (const Size& size : kSizes) {
    for (std::int64_t step = 0; step < 50; ++step) {
      Picture picture(size);
      const auto around = picture.around();
      augmenter.apply(picture.view(), step, 0);
      ASSERT_EQ(picture.around(), around) << size.width << " x " << size.height;
    }
  }
}

TEST_P(EveryAugmentation, ItsDrawsDoNotDependOnTheOthers) {
  AugmentationValues values = usual_augmentation_values();
  std::vector<std::string> all;
  for (const Augmentation* each : augmentations()) {
    all.push_back(each->name);
    values[each->name + ".probability"] = each->name == GetParam() ? 0.5 : 0;
  }
  const Augmenter among_all(all, values, 1), alone = with_probability(0.5);
  for (std::int64_t place = 0; place < 16; ++place)
    EXPECT_EQ(augmented(among_all, 3, place), augmented(alone, 3, place));
}

TEST_P(EveryAugmentation, ItsUsualSettingsAreInTheirRanges) {
  for (const Augmentation* each : augmentations()) {
    for (const AugmentationSetting& setting : each->settings)
      EXPECT_TRUE(setting.range.holds(setting.usual)) << each->name << " " << setting.name;
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Augmentation* each : augmentations()) all.push_back(each->name);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Registered, EveryAugmentation, testing::ValuesIn(names()),
                         [](const auto& tested) { return tested.param; });

TEST(Augmenter, ChangesAnImageInTheOrderOfItsNames) {
  static const bool is_registered = [] {
    const auto add = [](std::string name, auto change) {
      register_augmentation({.name = std::move(name),
                             .meaning = "a pixel changes",
                             .probability = 1,
                             .make = [change](auto) {
                               return [change](const ImageView& image, AugmentationDraws&) {
                                 image.pixels[0] = change(image.pixels[0]);
                               };
                             }});
    };
    add("test_add", [](std::uint8_t x) { return static_cast<std::uint8_t>(x + 1); });
    add("test_double", [](std::uint8_t x) { return static_cast<std::uint8_t>(x * 2); });
    return true;
  }();
  ASSERT_TRUE(is_registered);
  const auto made = [](const std::vector<std::string>& names) {
    std::uint8_t pixels[3] = {5, 0, 0};
    Augmenter(names, usual_augmentation_values(), 0).apply({pixels, 1, 1}, 0, 0);
    return static_cast<int>(pixels[0]);
  };
  EXPECT_EQ(made({"test_add", "test_double"}), 12);
  EXPECT_EQ(made({"test_double", "test_add"}), 11);
  EXPECT_EQ(made({}), 5);
}

TEST(Augmenter, UnknownNamesAndASecondOfOneNameAreRefused) {
  EXPECT_THROW(Augmenter({"blurr"}, usual_augmentation_values(), 0), Error);
  EXPECT_THROW(register_augmentation(*augmentations().front()), Error);
}

/// An augmentation with probability 1 and these settings.
Augmenter always(const std::string& name, const std::map<std::string, double>& settings = {}) {
  AugmentationValues values = usual_augmentation_values();
  values[name + ".probability"] = 1;
  for (const auto& [setting, value] : settings) values[name + "." + setting] = value;
  return {{name}, values, 0};
}

TEST(Augmenter, SettingsThatLeaveNoRoomChangeNothing) {
  const std::map<std::string, std::map<std::string, double>> settings = {
      {"affine", {{"degrees", 0}, {"shift", 0}, {"scale", 0}, {"shear", 0}}},
      {"crop", {{"area", 1}, {"aspect", 1}}},
      {"low_resolution", {{"side", 1}}},
      {"photometric", {{"brightness", 0}, {"contrast", 0}, {"saturation", 0}}},
      {"resized_crop", {{"area", 1}, {"aspect", 1}}}};
  for (const auto& [name, values] : settings) {
    const Augmenter augmenter = always(name, values);
    for (const Size& size : {Size{112, 112}, Size{1, 1}})
      for (std::int64_t step = 0; step < 10; ++step)
        EXPECT_EQ(augmented(augmenter, step, 0, size), Picture(size).inside()) << name;
  }
}

TEST(CutOutAugmentation, ABoxOfTheAreaAndAspectBecomesBlack) {
  const Augmenter cut_out = always("cut_out");
  constexpr int kSize = 112;
  double least = 1, most = 0;
  for (std::int64_t step = 0; step < 300; ++step) {
    std::vector<std::uint8_t> pixels(std::size_t{kSize} * kSize * 3, 9);
    const ImageView image{pixels.data(), kSize, kSize};
    cut_out.apply(image, step, 0);
    int left = kSize, right = -1, top = kSize, bottom = -1, cut = 0;
    for (int y = 0; y < kSize; ++y) {
      for (int x = 0; x < kSize; ++x) {
        if (*image.at(x, y) != 0) continue;
        ++cut;
        left = std::min(left, x), right = std::max(right, x);
        top = std::min(top, y), bottom = std::max(bottom, y);
      }
    }
    const int width = right - left + 1, height = bottom - top + 1;
    EXPECT_EQ(cut, width * height);
    EXPECT_EQ(std::ranges::count(pixels, 0), 3 * cut);
    const double area = cut / static_cast<double>(kSize * kSize);
    least = std::min(least, area), most = std::max(most, area);
    EXPECT_GT(width / static_cast<double>(height), 1 / 3.5);
    EXPECT_LT(width / static_cast<double>(height), 3.5);
  }
  EXPECT_GT(least, 0.018);
  EXPECT_LT(least, 0.05);
  EXPECT_GT(most, 0.3);
  EXPECT_LT(most, 0.34);
}

TEST(GreyAugmentation, AllChannelsBecomePillowsLuma) {
  const Augmenter grey = always("grey");
  std::uint8_t pixels[] = {255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
  grey.apply({pixels, 6, 1}, 0, 0);
  EXPECT_THAT(pixels, testing::ElementsAre(255, 255, 255, 0, 0, 0, 76, 76, 76, 150, 150, 150, 29,
                                           29, 29, 18, 18, 18));
}

TEST(CropAugmentation, KeepsABoxOfTheAreaAndAspectAtItsPlaceOnBlack) {
  const Augmenter crop = always("crop");
  constexpr int kSize = 112;
  double least = 1, most = 0;
  for (std::int64_t step = 0; step < 300; ++step) {
    std::vector<std::uint8_t> pixels(std::size_t{kSize} * kSize * 3, 9);
    const ImageView image{pixels.data(), kSize, kSize};
    crop.apply(image, step, 0);
    int left = kSize, right = -1, top = kSize, bottom = -1, kept = 0;
    for (int y = 0; y < kSize; ++y) {
      for (int x = 0; x < kSize; ++x) {
        if (*image.at(x, y) == 0) continue;
        ++kept;
        left = std::min(left, x), right = std::max(right, x);
        top = std::min(top, y), bottom = std::max(bottom, y);
      }
    }
    const int width = right - left + 1, height = bottom - top + 1;
    EXPECT_EQ(kept, width * height);  // a box, whole
    EXPECT_EQ(std::ranges::count(pixels, 9), 3 * kept);
    const double area = kept / static_cast<double>(kSize * kSize);
    least = std::min(least, area), most = std::max(most, area);
    EXPECT_GT(width / static_cast<double>(height), 0.73);
    EXPECT_LT(width / static_cast<double>(height), 1.37);
  }
  EXPECT_GT(least, 0.19);
  EXPECT_LT(least, 0.3);
  EXPECT_GT(most, 0.9);
}

}  // namespace
}  // namespace pfc
