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
  bool use_detector_score = true;  ///< an image counts as much as its detector is sure of it
  bool normalise_images = false;   ///< each image's embedding to unit length first
};

/// One unit vector a template: the sum over its media of the mean within each medium, divided by
/// its norm (Whitelam et al., "IARPA Janus Benchmark-B Face Dataset", 2017, as InsightFace's tools
/// do it).
struct IjbTemplates {
  std::int64_t dim = 0;
  std::vector<std::int32_t> ids = {};  ///< [n] ascending
  std::vector<double> values = {};     ///< [n, dim]
  std::int64_t zeros = 0;              ///< templates whose sum is zero; their score to any is 0
};

/// `features` has a row for each of `images`. Throws Error, naming the image, where a value is not
/// finite.
IjbTemplates pool_templates(const IjbImages& images, const Features& features,
                            const IjbOptions& options);

/// 1:1: a template pair's score is the dot product.
struct IjbVerification {
  static constexpr std::array kFars = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
  Roc roc;
  /// The field's figure: the TAR at the point of the ROC curve whose FAR is nearest, among its
  /// corners; the largest TAR where several are.
  std::array<RocPoint, kFars.size()> points{};
  std::array<RocPoint, kFars.size()> of_every_score{};  ///< the same among all of its points
  std::vector<std::int64_t> genuine_histogram = {},     ///< as score_histogram's
      impostor_histogram = {};
  std::vector<std::int64_t> hardest_genuine = {}, hardest_impostors = {};  ///< pairs, by place
};
IjbVerification verify_templates(const IjbTemplates& templates, const IjbPairs& pairs);

/// 1:N, by one way of counting. An impostor of equal score comes before the mate.
struct IjbIdentification {
  static constexpr std::array<std::int64_t, 3> kRanks = {1, 5, 10};
  static constexpr std::array kFpirs = {0.01, 0.1};
  std::string count;  ///< which
  std::string gallery;
  std::int64_t mated = 0, non_mated = 0;  ///< probes
  std::array<double, kRanks.size()> rank_rates{};
  /// Empty where there is nothing to find the threshold from.
  std::array<std::optional<double>, kFpirs.size()> tpir{};
};

/// By the ways of counting that are in use, n being the number of a gallery's probes without a
/// mate:
/// - "per gallery", as InsightFace's ijb_evals.py: the threshold is the ⌊n·FPIR⌋-th of their
/// highest
///   scores, the first one where that is 0; a mated probe counts where its mate comes first and
///   exceeds it. A result a gallery, then their "mean": what is found in all of them over the
///   number of probes, and the mean TPIR;
/// - "joined", as its ijb_1n.py: all galleries as one, m probes with a mate; the threshold is the
///   ⌈m·FPIR⌉-th highest of all scores that are not a mate's, and the mate must exceed it at any
///   rank;
/// - "standard", the meaning of ISO/IEC 19795: as "per gallery", but the threshold is the lowest
/// that
///   the highest scores of at most FPIR of the non-mated probes exceed, and all rates of the "mean"
///   are means of rates.
/// Empty for a set without galleries. Throws Error where a gallery has the subject of no probe.
std::vector<IjbIdentification> identify_templates(const IjbTemplates& templates, const IjbSet& set);

}  // namespace pfc
