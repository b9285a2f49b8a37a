#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "pfc/data/face_stream.h"

namespace pfc {

struct HeldOutOptions {
  std::int64_t identities = 0;  ///< how many are held out
  std::int64_t pairs = 0;       ///< for verification; half of them show one person
  std::uint64_t seed = 0;
};

/// Holds identities out of a set. They are drawn at random among those with at least two images,
/// and pairs of their images are drawn too. No pair comes twice. Pairs of one person and of two
/// people alternate, so that every tenth of the file has as many of each.
class HeldOut {
 public:
  /// `counts`: [largest identity + 1] images of each identity. Throws Error if there are too few.
  HeldOut(const HeldOutOptions& options, std::span<const std::int64_t> counts);

  bool holds(std::int64_t identity) const;
  /// An identity's new number among the held-out identities, or among the others.
  std::int64_t number(std::int64_t identity) const;
  /// Takes the images of a held-out identity in the order of the set, and keeps those of the pairs.
  void keep(const Face& face);
  /// Call it after all images were given to `keep`.
  void write_pairs(const std::filesystem::path& bin) const;

 private:
  /// An image: an identity, and the image's place within that identity.
  using Image = std::pair<std::int64_t, std::int64_t>;
  struct Pair {
    Image first, second;
  };

  void choose(std::span<const std::int64_t> counts);
  void draw_pairs(std::span<const std::int64_t> counts);

  HeldOutOptions options_;
  std::vector<bool> held_;             // by identity
  std::vector<std::int64_t> numbers_;  // by identity
  std::vector<std::int64_t> chosen_;   // identities held out
  std::vector<Pair> pairs_;
  std::map<Image, std::vector<std::byte>> images_;  // images of the pairs
  std::map<std::int64_t, std::int64_t> told_;       // images of each identity so far
};

}  // namespace pfc
