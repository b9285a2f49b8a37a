#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/eval/accept_rate.h"
#include "pfc/eval/features.h"
#include "pfc/eval/named_pair.h"

namespace pfc {

struct IfrtOptions {
  std::vector<double> fars = {1e-6};
  /// Two groups: instead of all against all, the images of the first against those of the second
  /// (masked against plain ones), a person's folder being called the same in both.
  std::string between_first = {}, between_second = {};
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

/// The pairs of a group, or of all.
struct GroupResult {
  std::string name;
  std::int64_t identities = 0, images = 0;
  std::int64_t genuine = 0, impostors = 0;      ///< pairs, unordered
  std::vector<AcceptRate> rates;                ///< [fars]; empty where a kind of pairs is missing
  std::vector<std::int64_t> genuine_histogram,  ///< [ImpostorScores::kBins] over [−1, 1]
      impostor_histogram;
};

struct IfrtResult {
  std::vector<GroupResult> groups;  ///< in the order of their names, then "ALL" where there are two
  std::int64_t single = 0;          ///< identities with one image, which are in no genuine pair
  std::int64_t zeros = 0;           ///< images whose embedding is all zeros
  std::vector<NamedPair> hardest_genuine, hardest_impostors;
};

/// For the start of long work, what `evaluate_ifrt` would find at its end: throws Error for a name
/// without an identity, a group that is not there, and more than 100 groups.
void require_ifrt_names(std::span<const std::string> names, const IfrtOptions& options);

/// The test that InsightFace calls IFRT or MFR, on any embeddings: cosine similarity, all against
/// all within each group and over all groups together, unordered pairs, the true accept rate at a
/// false accept rate of at most `fars`. Names are `GROUP/IDENTITY/IMAGE`; without a group
/// (`IDENTITY/IMAGE`) there is one, "ALL". All ranks call it together. Exact: see ImpostorScores.
/// Throws Error as require_ifrt_names does, and for a value that is not finite.
IfrtResult evaluate_ifrt(const Features& features, const IfrtOptions& options, Communicator& comm);

}  // namespace pfc
