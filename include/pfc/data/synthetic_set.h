#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace pfc {

struct SyntheticSetOptions {
  std::filesystem::path folder = {};  ///< made where it is not there
  std::int64_t identities = 2000;
  std::int64_t images = 10;   ///< an identity
  std::int64_t unseen = 200;  ///< other identities, for the pairs; at least 2
  /// Every second one of one person; a multiple of 20, for ten folds of equal halves.
  std::int64_t pairs = 2000;
  std::uint64_t seed = 0;
  int threads = 1;
  /// Called after an image, with the images that are written and those of both sets together.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// Draws faces (synthetic_face.h) and writes, into `folder`, the training set `train.rec` (with
/// `train.idx` and `property`), the verification set `unseen.bin` of identities that are not in it,
/// and `faces.png`, a contact sheet with a row an identity. What is written is a function of the
/// options without `threads`.
///
/// Each file appears whole or not at all, train.rec after the others. Throws Error where an option
/// is out of range, where a train.rec is there already, or where the folder cannot be written.
void write_synthetic_set(const SyntheticSetOptions& options);

}  // namespace pfc
