#include "pfc/data/augmentation.h"

#include <algorithm>
#include <deque>
#include <string_view>

#include "data/augmentations/built_in.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

/// One stays where it is when others are added.
std::deque<Augmentation>& known_augmentations() {
  static std::deque<Augmentation> all = built_in_augmentations();
  return all;
}

/// FNV-1a. By their names, augmentations do not share draws, whichever others there are.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

void register_augmentation(Augmentation augmentation) {
  auto& all = known_augmentations();
  if (std::ranges::find(all, augmentation.name, &Augmentation::name) != all.end())
    throw Error("augmentation '" + augmentation.name + "' is registered already");
  all.push_back(std::move(augmentation));
}

std::vector<const Augmentation*> augmentations() {
  std::vector<const Augmentation*> all;
  for (const Augmentation& each : known_augmentations()) all.push_back(&each);
  return all;
}

AugmentationValues usual_augmentation_values() {
  AugmentationValues values;
  for (const Augmentation& each : known_augmentations()) {
    values[each.name + ".probability"] = each.probability;
    for (const AugmentationSetting& setting : each.settings)
      values[each.name + "." + setting.name] = setting.usual;
  }
  return values;
}

Augmenter::Augmenter(const std::vector<std::string>& names, const AugmentationValues& values,
                     std::uint64_t seed) {
  const auto& all = known_augmentations();
  for (const std::string& name : names) {
    const auto found = std::ranges::find(all, name, &Augmentation::name);
    if (found == all.end()) throw Error("augmentation '" + name + "' is unknown");
    std::vector<double> settings;
    for (const AugmentationSetting& setting : found->settings)
      settings.push_back(values.at(name + "." + setting.name));
    active_.push_back({.random = {seed ^ hash_of(name), RandomStream::kAugmentation},
                       .probability = values.at(name + ".probability"),
                       .augment = found->make(settings)});
  }
}

void Augmenter::apply(const ImageView& image, std::int64_t step, std::int64_t place) const {
  for (const Active& each : active_) {
    AugmentationDraws draws(each.random, step, place);
    if (draws.uniform(0, 1) < each.probability) each.augment(image, draws);
  }
}

}  // namespace pfc
