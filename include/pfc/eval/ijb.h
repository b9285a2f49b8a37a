#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pfc/eval/features.h"
#include "pfc/eval/ijb_files.h"
#include "pfc/eval/roc.h"

namespace pfc {

struct IjbOptions {
  bool use_detector_score = true;  ///< weight an image by its detector score
  bool normalise_images = false;   ///< scale each image's embedding to unit length first
};

/// One unit vector for each template. It is the sum over the template's media of the mean within
/// each medium, divided by its norm (Whitelam et al., "IARPA Janus Benchmark-B Face Dataset", 2017,
/// as InsightFace's tools do it).
struct IjbTemplates {
  std::int64_t dim = 0;
  std::vector<std::int32_t> ids = {};  ///< [n] ascending
  std::vector<double> values = {};     ///< [n, dim]
  std::int64_t zeros = 0;  ///< templates whose sum is zero; their score with any other is 0
};

/// `features` has one row for each of `images`. Throws Error, naming the image, if a value is not
/// finite.
IjbTemplates pool_templates(const IjbImages& images, const Features& features,
                            const IjbOptions& options);

/// 1:1 verification. The score of a template pair is the dot product.
struct IjbVerification {
  static constexpr std::array kFars = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
  Roc roc;
  /// The TAR that papers report: at the corner of the ROC curve whose FAR is nearest to the wanted
  /// one. If several are equally near, the largest TAR.
  std::array<RocPoint, kFars.size()> points{};
  std::array<RocPoint, kFars.size()>
      of_every_score{};  ///< the same, but among all points of the curve
  std::vector<std::int64_t> genuine_histogram = {},  ///< counted as score_histogram does
      impostor_histogram = {};
  std::vector<std::int64_t> hardest_genuine = {}, hardest_impostors = {};  ///< places of pairs
};
IjbVerification verify_templates(const IjbTemplates& templates, const IjbPairs& pairs);

/// 1:N identification, by one way of counting. An impostor with the same score comes before the
/// mate.
struct IjbIdentification {
  static constexpr std::array<std::int64_t, 3> kRanks = {1, 5, 10};
  static constexpr std::array kFpirs = {0.01, 0.1};
  std::string count;  ///< the way of counting
  std::string gallery;
  std::int64_t mated = 0, non_mated = 0;  ///< numbers of probes
  std::array<double, kRanks.size()> rank_rates{};
  /// Empty if there are no scores from which to find the threshold.
  std::array<std::optional<double>, kFpirs.size()> tpir{};
};

/// Counts in each of the ways that are in use. n is the number of a gallery's probes without a
/// mate.
/// - "per gallery", as InsightFace's ijb_evals.py: the threshold is the ⌊n·FPIR⌋-th of those
///   probes' highest scores, or the first if that number is 0. A mated probe counts if its mate
///   comes first and its score exceeds the threshold. One result for each gallery, then their
///   "mean": the probes found in all galleries over the number of probes, and the mean TPIR;
/// - "joined", as InsightFace's ijb_1n.py: all galleries form one; m probes have a mate. The
///   threshold is the ⌈m·FPIR⌉-th highest of all scores that are not a mate's. The mate must exceed
///   it, at any rank;
/// - "standard", as ISO/IEC 19795 defines it: like "per gallery", but the threshold is the lowest
///   one that the highest scores of at most a share FPIR of the non-mated probes exceed, and every
///   rate of the "mean" is a mean of rates.
///
/// Empty for a set without galleries. Throws Error if no probe shows a subject of a gallery.
std::vector<IjbIdentification> identify_templates(const IjbTemplates& templates, const IjbSet& set);

}  // namespace pfc
