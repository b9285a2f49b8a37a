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
  std::int64_t pairs = 0;       ///< for verification, half of them of one person
  std::uint64_t seed = 0;
};

/// Identities held out of a set, drawn at random among those with two images or more, and pairs of
/// their images: no pair comes twice, and pairs of one person and of two take turns, so that every
/// tenth of the file has as many of each.
class HeldOut {
 public:
  /// `counts` [largest identity + 1] images of each. Throws Error where there are too few.
  HeldOut(const HeldOutOptions& options, std::span<const std::int64_t> counts);

  bool holds(std::int64_t identity) const;
  /// The new number of an identity among its kind, held out or not.
  std::int64_t number(std::int64_t identity) const;
  /// The images of a held-out identity, told in the order of the set; those of the pairs are kept.
  void keep(const Face& face);
  /// After all were told.
  void write_pairs(const std::filesystem::path& bin) const;

 private:
  /// An image: an identity and its place among that one's.
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
  std::map<Image, std::vector<std::byte>> images_;  // of the pairs
  std::map<std::int64_t, std::int64_t> told_;       // images of each so far
};

}  // namespace pfc
