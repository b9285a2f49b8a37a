#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace pfc {

struct SyntheticSetOptions {
  std::filesystem::path folder = {};  ///< created if missing
  std::int64_t identities = 2000;
  std::int64_t images = 10;   ///< for each identity
  std::int64_t unseen = 200;  ///< other identities, for the pairs; at least 2
  /// Half of them show one person, alternating. A multiple of 20, so that ten folds have equal
  /// halves.
  std::int64_t pairs = 2000;
  std::uint64_t seed = 0;
  int threads = 1;
  /// Called after each image with the number of images written and the number of both sets
  /// together.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// Draws faces (synthetic_face.h) and writes into `folder`: the training set `train.rec` (with
/// `train.idx` and `property`), the verification set `unseen.bin` with identities that are not in
/// it, and `faces.png`, a contact sheet with one row for each identity. The output is a function of
/// the options except `threads`.
///
/// Each file appears whole or not at all, train.rec last. Throws Error if an option is out of
/// range, if there is a train.rec already, or if the folder cannot be written.
void write_synthetic_set(const SyntheticSetOptions& options);

}  // namespace pfc
