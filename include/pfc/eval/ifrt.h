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
  /// Two groups. The images of the first are compared with those of the second (for example masked
  /// with plain ones), in place of all against all. A person's folder has the same name in both
  /// groups.
  std::string between_first = {}, between_second = {};
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

/// The pairs of one group, or of all images.
struct GroupResult {
  std::string name;
  std::int64_t identities = 0, images = 0;
  std::int64_t genuine = 0, impostors = 0;      ///< pairs, unordered
  std::vector<AcceptRate> rates;                ///< [fars]; empty if one kind of pairs is missing
  std::vector<std::int64_t> genuine_histogram,  ///< [ImpostorScores::kBins] over [−1, 1]
      impostor_histogram;
};

struct IfrtResult {
  std::vector<GroupResult>
      groups;               ///< in the order of their names; then "ALL" if there are two or more
  std::int64_t single = 0;  ///< identities with only one image, which are in no genuine pair
  std::int64_t zeros = 0;   ///< images whose embedding is all zeros
  std::vector<NamedPair> hardest_genuine, hardest_impostors;
};

/// For the start of long work: finds what `evaluate_ifrt` would find only at its end. Throws Error
/// for a name without an identity, a missing group, or more than 100 groups.
void require_ifrt_names(std::span<const std::string> names, const IfrtOptions& options);

/// The test that InsightFace calls IFRT or MFR, on any embeddings: the true accept rate at a false
/// accept rate of at most `fars`. Scores are cosine similarities of unordered pairs, all against
/// all within each group and over all groups together. Names are `GROUP/IDENTITY/IMAGE`. Names
/// without a group (`IDENTITY/IMAGE`) form one group, "ALL". All ranks call it together. The result
/// is exact: see ImpostorScores. Throws Error as require_ifrt_names does, and for a value that is
/// not finite.
IfrtResult evaluate_ifrt(const Features& features, const IfrtOptions& options, Communicator& comm);

}  // namespace pfc
