#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pfc/base/field.h"
#include "pfc/base/random.h"

namespace pfc {

/// An image that an augmentation changes in place: [height, width, 3] RGB.
struct ImageView {
  std::uint8_t* pixels = nullptr;
  int width = 0, height = 0;

  std::uint8_t* at(int x, int y) const {
    return pixels + (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                     static_cast<std::size_t>(x)) *
                        3;
  }
  std::span<std::uint8_t> row(int y) const {
    return {at(0, y), static_cast<std::size_t>(width) * 3};
  }
};

/// The random numbers of one augmentation for one place in the global batch of one step. The i-th
/// number that is asked for is a pure function of (seed, augmentation, step, place, i).
class AugmentationDraws {
 public:
  AugmentationDraws(const CounterRandom& random, std::int64_t step, std::int64_t place)
      : random_(random),
        step_(static_cast<std::uint64_t>(step)),
        next_(static_cast<std::uint64_t>(place) << kBitsForDraws) {}

  /// From `low` to below `high`.
  double uniform(double low, double high) {
    const double share = static_cast<double>(random_.bits(step_, next_++) >> 11) * 0x1p-53;
    return low + share * (high - low);
  }
  /// Uniform in [0, n), n > 0.
  std::int64_t below(std::int64_t n) { return random_.below(n, step_, next_++); }

 private:
  static constexpr int kBitsForDraws = 16;  ///< an augmentation draws fewer than 2^16 numbers

  CounterRandom random_;
  std::uint64_t step_, next_;
};

/// Changes an image. It is called by many threads at once, and its result depends on the pixels and
/// the draws alone.
using Augment = std::function<void(const ImageView& image, AugmentationDraws& draws)>;

/// A setting of an augmentation: the key `augment.AUGMENTATION.NAME` of a configuration.
struct AugmentationSetting {
  std::string name;
  double usual;
  Range range;
  std::string meaning;
};

/// What a configuration may name in `data.augment`.
struct Augmentation {
  std::string name;
  std::string meaning;  ///< what becomes of an image
  double probability;   ///< the usual one; `augment.NAME.probability` sets it
  std::vector<AugmentationSetting> settings = {};
  /// `values`: those of `settings`, in the same order.
  std::function<Augment(std::span<const double> values)> make;
};

/// Makes an augmentation known to configurations. A program does so before it reads one, on every
/// rank. Throws Error if there is one of that name.
void register_augmentation(Augmentation augmentation);

/// All that are known, in the order of registration.
std::vector<const Augmentation*> augmentations();

/// Values of all settings by name, "crop.probability" for example.
using AugmentationValues = std::map<std::string, double, std::less<>>;
AugmentationValues usual_augmentation_values();

/// The augmentations of a run, one after another. Each changes an image with its probability.
class Augmenter {
 public:
  /// Changes nothing.
  Augmenter() = default;
  /// `names`: in the order in which they change an image. Throws Error if one is unknown.
  Augmenter(const std::vector<std::string>& names, const AugmentationValues& values,
            std::uint64_t seed);

  /// Changes the image at `place` in the global batch of `step`.
  void apply(const ImageView& image, std::int64_t step, std::int64_t place) const;

 private:
  struct Active {
    CounterRandom random;
    double probability;
    Augment augment;
  };
  std::vector<Active> active_;
};

}  // namespace pfc
