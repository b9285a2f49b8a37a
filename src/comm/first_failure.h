#pragma once

#include <optional>
#include <string>

#include "pfc/comm/communicator.h"

namespace pfc {

/// What a rank could not do.
struct RankFailure {
  int rank = 0;
  std::string sentence = {};  ///< names the rank, where there are several
};

/// Each rank says what it failed with, an empty sentence where it did not; all learn of the first
/// one that did. What all do next, give up or try something else, they then do together: a rank
/// that alone throws ends the others before they can clean up.
std::optional<RankFailure> first_failure(const std::string& sentence, Communicator& comm);

}  // namespace pfc
