#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "pfc/base/checksum.h"

namespace pfc {

/// Numbers under one name: integers or real numbers.
using SavedNumbers = std::variant<std::vector<std::int64_t>, std::vector<double>>;

/// The description of a checkpoint in `manifest.json`. It is written last, and so turns its folder
/// into a checkpoint.
struct Manifest {
  std::int64_t step = 0;    ///< steps done
  int world = 1;            ///< ranks that saved
  std::string config = {};  ///< of the run, as to_toml writes it
  std::uint64_t seed = 0;

  // The training set as the run sees it.
  std::int64_t images = 0, identities = 0;
  std::uint64_t labels = 0;                ///< their fingerprint
  std::uint64_t people = 0;                ///< fingerprint of the classes' identities; 0: not known
  std::vector<std::string> excluded = {};  ///< Dataset::excluded

  std::map<std::string, SavedNumbers> state = {};  ///< of the run, by name: see RunState

  std::map<std::string, Checksums> files = {};  ///< of the checkpoint's folder, all of them

  bool operator==(const Manifest&) const = default;
};

std::string to_json(const Manifest& manifest);
/// Throws DataError with `name` for the file and what is wrong in it.
Manifest parse_manifest(std::string_view json, std::string_view name);

}  // namespace pfc
