#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/eval/accept_rate.h"
#include "pfc/eval/features.h"
#include "pfc/eval/named_pair.h"

namespace pfc {

struct MegafaceOptions {
  std::unordered_set<std::string> bad_probes = {};       ///< by file name: facescrub_noises.txt
  std::unordered_set<std::string> bad_distractors = {};  ///< by A/B/IMAGE: megaface_noises.txt
  double far = 1e-6;
  std::function<void(std::int64_t done, std::int64_t total)> progress = [](auto, auto) {};
};

/// For the start of long work: throws Error if all images of a person among the probes (each named
/// `PERSON/IMAGE`) are bad, or if nobody has two images.
void require_probes(std::span<const std::string> names, const MegafaceOptions& options);

/// FaceScrub images as unit vectors, with noise removed as MegaFace's tools do it. A bad image is
/// replaced by the sum of its person's clean images plus noise, uniform within ±0.001 on every
/// value, scaled to unit length.
struct CleanProbes {
  std::int64_t dim = 0;
  std::vector<float> values;  ///< [n, dim]
  std::vector<std::int64_t>
      order;  ///< [n] the row in the features; all images of a person come together
  std::vector<std::int64_t> begin;  ///< where each person begins in `order`, and the end
  std::int64_t replaced = 0;
};
/// Throws Error as require_probes does.
CleanProbes clean_probes(const Features& probes, const MegafaceOptions& options);

struct MegafaceResult {
  std::int64_t probes = 0, people = 0, distractors = 0;
  std::int64_t replaced = 0;   ///< bad probes that were replaced
  std::int64_t unmatched = 0;  ///< distractors that never match: bad ones, and embeddings of zeros

  std::int64_t pairs = 0;           ///< ordered pairs of a probe and another image of its person
  std::vector<std::int64_t> sizes;  ///< 10, 100, … and all distractors
  std::vector<double> rank_1;       ///< by size: with that many distractors, counted from the first
  std::vector<std::int64_t>
      cmc;                  ///< [rank − 1] pairs found at that rank or before; ranks up to 1,000
  AcceptRate verification;  ///< unordered pairs of probes against all probes × distractors
  std::vector<std::int64_t> genuine_histogram,  ///< [ImpostorScores::kBins] over [−1, 1]
      impostor_histogram;
  std::vector<NamedPair> hardest_genuine;    ///< two probes, by their rows in the features
  std::vector<NamedPair> hardest_impostors;  ///< a probe and a distractor
};

/// MegaFace's challenge 1 on FaceScrub (Kemelmacher-Shlizerman et al., 2016). Identification: for
/// each ordered pair of a probe and another image of its person, that image must come before every
/// distractor; a distractor of equal score comes before it. Verification: TAR at FAR `far`. A bad
/// distractor counts as a distractor and matches nothing. All ranks call it together. Throws Error
/// for a value that is not finite, and if no person has two images.
MegafaceResult evaluate_megaface(const Features& probes, const Features& distractors,
                                 const MegafaceOptions& options, Communicator& comm);

}  // namespace pfc
