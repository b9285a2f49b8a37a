#pragma once

#include <optional>
#include <string>

#include "pfc/comm/communicator.h"

namespace pfc {

/// The failure of a rank.
struct RankFailure {
  int rank = 0;
  std::string sentence = {};  ///< names the rank if there are several
};

/// Each rank passes the sentence of its failure, or an empty one; all ranks learn the first
/// failure. Then they can give up or try something else together. A rank that throws alone ends the
/// others before they can clean up.
std::optional<RankFailure> first_failure(const std::string& sentence, Communicator& comm);

}  // namespace pfc
