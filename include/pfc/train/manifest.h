#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/checksum.h"

namespace pfc {

/// What a checkpoint says of itself, in `manifest.json`. Being written last, it makes the folder it
/// stands in a checkpoint.
struct Manifest {
  std::int64_t step = 0;    ///< steps done
  int world = 1;            ///< ranks that saved
  std::string config = {};  ///< of the run, as to_toml writes it
  std::uint64_t seed = 0;

  // The training set as the run sees it.
  std::int64_t images = 0, identities = 0;
  std::uint64_t labels = 0;                ///< their fingerprint
  std::uint64_t people = 0;                ///< that of the classes' identities; 0: not known
  std::vector<std::string> excluded = {};  ///< Dataset::excluded

  std::int64_t corrupt = 0;   ///< images that did not decode, so far
  double best_accuracy = -1;  ///< so far, on one verification set; -1: none was measured
  std::uint64_t best_on = 0;  ///< that set's fingerprint; 0: not known

  /// Of a float16 run's LossScaler: its factor, steps in a row without an overflow, and skipped
  /// ones; 0: none.
  double loss_factor = 0;
  std::int64_t loss_steps = 0, loss_skipped = 0;

  std::map<std::string, Checksums> files = {};  ///< of the checkpoint's folder, all of them

  bool operator==(const Manifest&) const = default;
};

std::string to_json(const Manifest& manifest);
/// Throws DataError, with `name` for the file and what is wrong in it.
Manifest parse_manifest(std::string_view json, std::string_view name);

}  // namespace pfc
