#include "pfc/eval/protocol_reports.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/list_name.h"
#include "pfc/eval/impostor_scores.h"
#include "pfc/eval/roc_svg.h"

namespace pfc {
namespace {

using Cell = ReportCell;
using Counts = std::span<const std::int64_t>;

/// `1e-06` becomes `1e-6`.
std::string far_text(double far) {
  const int exponent = static_cast<int>(std::lround(std::log10(far)));
  if (std::abs(far / std::pow(10, exponent) - 1) < 1e-9 && exponent < 0)
    return "1e-" + std::to_string(-exponent);
  return format("%g", far);
}

double score_at(std::size_t bin, std::size_t bins) {
  return 2 * static_cast<double>(bin) / static_cast<double>(bins) - 1;
}

/// The ROC curve of two histograms over the same bins, beginning at one impostor pair.
ChartCurve roc_curve(std::string name, Counts genuine, Counts impostors) {
  const auto all_genuine =
      static_cast<double>(std::accumulate(genuine.begin(), genuine.end(), std::int64_t{0}));
  const auto all_impostors =
      static_cast<double>(std::accumulate(impostors.begin(), impostors.end(), std::int64_t{0}));
  ChartCurve curve{std::move(name), {{1 / all_impostors, 0}}};
  double accepted = 0, wrong = 0;
  for (std::size_t bin = genuine.size(); bin-- > 0;) {
    if (genuine[bin] + impostors[bin] == 0) continue;
    accepted += static_cast<double>(genuine[bin]);
    wrong += static_cast<double>(impostors[bin]);
    if (wrong == 0) {
      curve.points.front().y = accepted / all_genuine;
    } else {
      curve.points.push_back({wrong / all_impostors, accepted / all_genuine});
    }
  }
  return curve;
}

Chart empty_roc_chart() {
  return {.title = "ROC",
          .note = "The share of genuine pairs accepted, over the share of impostor pairs accepted",
          .x = {.label = "False accept rate", .from = 0.1, .to = 1, .logarithmic = true},
          .y = {.label = "True accept rate", .from = 0, .to = 1, .percent = true},
          .curves = {}};
}

void add_curve(Chart& chart, ChartCurve curve, double& least) {
  chart.x.from = std::min(chart.x.from, curve.points.front().x);
  least = std::min(least, curve.points.front().y);
  chart.curves.push_back(std::move(curve));
}

/// The shares of genuine and impostor pairs by score.
Chart score_chart(Counts genuine, Counts impostors, const std::string& what) {
  constexpr std::size_t kShown = 128;
  Chart chart{.title = "Scores" + (what.empty() ? "" : ", " + what),
              .note = "The share of the pairs of each kind, by cosine similarity",
              .x = {.label = "Cosine similarity", .from = -1, .to = 1, .steps = 4},
              .y = {.label = "Share of the pairs", .from = 0, .to = 0, .percent = true},
              .curves = {}};
  for (const auto& [name, histogram] :
       {std::pair("one person", genuine), std::pair("two people", impostors)}) {
    const auto all =
        static_cast<double>(std::accumulate(histogram.begin(), histogram.end(), std::int64_t{0}));
    ChartCurve curve{name, {{-1, 0}}};
    const std::size_t width = histogram.size() / kShown;
    for (std::size_t i = 0; i < kShown; ++i) {
      const auto begin = histogram.begin() + static_cast<std::ptrdiff_t>(i * width);
      const auto pairs =
          std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(width), std::int64_t{0});
      const double share = all > 0 ? static_cast<double>(pairs) / all : 0;
      curve.points.push_back({score_at(i, kShown), share});
      chart.y.to = std::max(chart.y.to, share);
    }
    curve.points.push_back({1, 0});
    chart.curves.push_back(std::move(curve));
  }
  chart.y.to = chart.y.to == 0 ? 1 : round_axis_end(chart.y.to);
  return chart;
}

std::string caption(double score, const std::string& first, const std::string& second) {
  return format("%.4f  ", score) + printable(first) + " and " + printable(second);
}

void add_pair(ReportPictures& pictures, std::string text, std::optional<RgbImage> first,
              std::optional<RgbImage> second) {
  if (first && second)
    pictures.pairs.push_back({std::move(text), std::move(*first), std::move(*second)});
}

/// Pairs of rows of two sets of features.
ReportPictures pair_pictures(std::string title, std::span<const NamedPair> pairs,
                             const Features& firsts, const ImageOfRow& first,
                             const Features& seconds, const ImageOfRow& second) {
  ReportPictures pictures{std::move(title), {}};
  for (const NamedPair& pair : pairs) {
    add_pair(pictures, caption(pair.score, firsts.name(pair.first), seconds.name(pair.second)),
             first(pair.first), second(pair.second));
  }
  return pictures;
}

constexpr const char* kOnePerson = "One person, lowest scores";
constexpr const char* kTwoPeople = "Two people, highest scores";

std::string as_given(std::int64_t zeros, const char* of) {
  return zeros == 0 ? ""
                    : grouped(zeros) + " " + of + " of zeros only, whose score with any other is 0";
}

constexpr const char* kUnresolved =
    "*: fewer impostor pairs than 1/FAR, so without any false accept";

Cell with_deviation(double rate, double deviation) {
  return {format("%.2f ± %.2f", 100 * rate, 100 * deviation), rate};
}

Cell tar_cell(const AcceptRate& rate) {
  Cell cell = Cell::percent(rate.tar());
  if (!rate.resolved()) cell.text += "*";
  return cell;
}

/// A template is shown by its first image.
ReportPictures template_pictures(const char* title, const IjbSet& set,
                                 std::span<const std::int64_t> pairs, const ImageOfRow& image) {
  ReportPictures pictures{std::string(title) + ", by the first image of each template", {}};
  const auto first_of = [&](std::int32_t id) {
    return std::ranges::find(set.images.templates, id) - set.images.templates.begin();
  };
  for (const std::int64_t pair : pairs) {
    const std::int32_t first = set.pairs.first[static_cast<std::size_t>(pair)];
    const std::int32_t second = set.pairs.second[static_cast<std::size_t>(pair)];
    add_pair(pictures, "templates " + std::to_string(first) + " and " + std::to_string(second),
             image(first_of(first)), image(first_of(second)));
  }
  return pictures;
}

/// The scores of a verification set are −d of unit vectors, so the cosine is 1 − d / 2.
void add_set(Report& report, const VerificationResult& result, const ImageOfRow& image) {
  std::vector<double> genuine, impostors;
  const auto cosine = [&](std::size_t i) { return 1 + result.scores[i] / 2; };
  for (std::size_t i = 0; i < result.scores.size(); ++i)
    (result.same[i] != 0 ? genuine : impostors).push_back(cosine(i));
  report.charts.push_back(
      score_chart(score_histogram(genuine), score_histogram(impostors), result.set));
  for (const bool same : {true, false}) {
    ReportPictures pictures{std::string(same ? kOnePerson : kTwoPeople) + ", " + result.set, {}};
    for (const std::int64_t pair : hardest_pairs(result.scores, result.same, same)) {
      add_pair(pictures,
               format("%.4f  pair %s", cosine(static_cast<std::size_t>(pair)),
                      std::to_string(pair + 1).c_str()),
               image(2 * pair), image(2 * pair + 1));
    }
    report.pictures.push_back(std::move(pictures));
  }
}

/// The errors of sets as images are rejected.
void add_reject(Report& report, std::span<const VerificationResult> results) {
  ReportTable table{.title = "Errors by the share of images rejected, shortest embeddings first",
                    .columns = {"set", "rejected %", "shortest left", "genuine pairs",
                                "impostor pairs", "FNMR %", "FAR %"}};
  Chart chart{.title = "Error versus reject",
              .note = "The share of genuine pairs refused, over the share of images rejected",
              .x = {.label = "Images rejected, shortest embeddings first",
                    .from = 0,
                    .to = 0,
                    .percent = true},
              .y = {.label = "False non-match rate", .from = 0, .to = 0, .percent = true},
              .curves = {}};
  bool resolved = true;
  for (const VerificationResult& result : results) {
    const RejectCurve& curve = result.reject.value();
    for (const RejectPoint& point : curve.rows()) {
      table.rows.push_back({{result.set + (curve.at.resolved ? "" : "*")},
                            Cell::percent(point.images),
                            Cell::number(point.length, "%.2f"),
                            Cell::count(point.genuine),
                            Cell::count(point.impostors),
                            Cell::percent(point.fnmr()),
                            {format("%.3f", 100 * point.far()), point.far()}});
    }
    ChartCurve line{result.set, {}};
    for (const RejectPoint& point : curve.points) {
      line.points.push_back({point.images, point.fnmr()});
      chart.y.to = std::max(chart.y.to, point.fnmr());
    }
    line.points.push_back({curve.end, line.points.back().y});
    chart.x.to = std::max(chart.x.to, curve.end);
    chart.curves.push_back(std::move(line));
    resolved = resolved && curve.at.resolved;
  }
  chart.y.to = chart.y.to == 0 ? 1 : round_axis_end(chart.y.to);
  table.notes.push_back(
      "FNMR: genuine pairs refused, 1 - TAR; the threshold is always that of all pairs at FAR " +
      far_text(RejectCurve::kFar));
  if (!resolved) table.notes.emplace_back(kUnresolved);
  report.tables.push_back(std::move(table));
  report.charts.push_back(std::move(chart));
}

}  // namespace

ImageOfRow pictures_of(const ImageSource& images) {
  return [&images](std::int64_t number) -> std::optional<RgbImage> {
    RgbImage face{kFaceSize, kFaceSize,
                  std::vector<std::uint8_t>(std::size_t{3} * kFaceSize * kFaceSize)};
    std::vector<std::byte> scratch;
    try {
      images.face(number, scratch, face.pixels.data());
    } catch (const Error&) {  // not available, or not an image: the figures do not depend on it
      return std::nullopt;
    }
    return face;
  };
}

ImageOfRow pictures_by_name(const ImageSource& images, const Features& features) {
  auto numbers = std::make_shared<std::unordered_map<std::string, std::int64_t>>();
  for (std::int64_t i = 0; i < images.size(); ++i) numbers->emplace(list_name(images.name(i)), i);
  return [picture = pictures_of(images), &features,
          numbers](std::int64_t row) -> std::optional<RgbImage> {
    const auto found = numbers->find(features.name(row));
    return found == numbers->end() ? std::nullopt : picture(found->second);
  };
}

std::optional<RgbImage> no_picture(std::int64_t) {
  return std::nullopt;
}

Report verification_report(std::span<const VerificationResult> results,
                           std::span<const ImageOfRow> images, std::string subtitle) {
  Report report{.title = "Verification", .subtitle = std::move(subtitle)};
  ReportTable table{.title = "Accuracy in ten folds",
                    .columns = {"set", "pairs", "accuracy %", "threshold", "XNorm", "VAL %",
                                "TAR % @1e-1", "@1e-2", "@1e-3", "@1e-4", "EER %", "AUC"}};
  bool resolved = true;
  std::vector<RocCurve> curves;
  for (const VerificationResult& result : results) {
    auto& row = table.rows.emplace_back();
    row = {{result.set},
           Cell::count(result.pairs()),
           with_deviation(result.accuracy, result.accuracy_deviation),
           Cell::number(result.best_threshold, "%.2f"),
           Cell::number(result.xnorm, "%.2f"),
           with_deviation(result.val, result.val_deviation)};
    for (const OperatingPoint& point : result.operating_points) {
      row.push_back(Cell::percent(point.tar));
      if (!point.resolved) row.back().text += "*";
      resolved = resolved && point.resolved;
    }
    row.push_back(Cell::percent(result.equal_error_rate));
    row.push_back(Cell::number(result.area));
    curves.push_back({result.set, result.roc});
  }
  table.notes.push_back(
      "threshold: squared distance with the best accuracy over all pairs; VAL: at FAR 1e-3");
  if (!resolved) table.notes.emplace_back(kUnresolved);
  report.tables.push_back(std::move(table));
  report.charts.push_back(roc_chart("ROC", curves));
  if (std::ranges::any_of(results, [](const auto& result) { return result.reject.has_value(); }))
    add_reject(report, results);
  for (std::size_t set = 0; set < results.size(); ++set) add_set(report, results[set], images[set]);
  return report;
}

Report ijb_report(const IjbSet& set, const IjbTemplates& templates,
                  const IjbVerification& verification,
                  std::span<const IjbIdentification> identification, const IjbOptions& options,
                  const ImageOfRow& image, std::string subtitle) {
  Report report{.title = set.name, .subtitle = std::move(subtitle)};
  ReportTable table{.title = "1:1, TAR % at a FAR of",
                    .columns = {"points of the ROC curve", "images", "templates", "genuine pairs",
                                "impostor pairs"}};
  for (const double far : IjbVerification::kFars) table.columns.push_back(far_text(far));
  for (const auto& [name, points] : {std::pair("corners", verification.points),
                                     std::pair("every score", verification.of_every_score)}) {
    auto& row = table.rows.emplace_back();
    row = {{name},
           Cell::count(set.images.count()),
           Cell::count(std::ssize(templates.ids)),
           Cell::count(verification.roc.genuine()),
           Cell::count(verification.roc.impostors())};
    for (const RocPoint& point : points) row.push_back(Cell::percent(verification.roc.tar(point)));
  }
  table.notes.push_back(
      "at the point whose FAR is nearest; corners: where the curve bends, as InsightFace's scripts "
      "print it (roc_curve of scikit-learn)");
  table.notes.push_back(std::string("images count ") +
                        (options.use_detector_score ? "as much as their detector score" : "alike") +
                        (options.normalise_images ? ", each normalised first" : ""));
  if (templates.zeros > 0) table.notes.push_back(as_given(templates.zeros, "templates"));
  report.tables.push_back(std::move(table));
  if (!identification.empty()) {
    ReportTable ranks{.title = "1:N, probes \"mixed\"",
                      .columns = {"count", "gallery", "mated probes", "others", "rank-1 %",
                                  "rank-5 %", "rank-10 %", "TPIR % @FPIR 0.01", "@0.1"}};
    for (const IjbIdentification& one : identification) {
      auto& cells = ranks.rows.emplace_back();
      cells = {{one.count}, {one.gallery}, Cell::count(one.mated), Cell::count(one.non_mated)};
      for (const double rate : one.rank_rates) cells.push_back(Cell::percent(rate));
      for (const auto& tpir : one.tpir) cells.push_back(tpir ? Cell::percent(*tpir) : Cell::none());
    }
    ranks.notes = {
        "per gallery: as InsightFace's ijb_evals.py; the mate must come first, FPIR over the "
        "probes without a mate in the gallery; ranks of the mean over all probes",
        "joined: as its ijb_1n.py; all galleries as one, the mate at any rank, the threshold "
        "from all scores that are not a mate's",
        "standard: per gallery, as ISO/IEC 19795 defines it; the FPIR is an upper bound, and the "
        "mean is a mean of rates"};
    report.tables.push_back(std::move(ranks));
  }
  const RocCurve curve{set.name, verification.roc};
  report.charts.push_back(roc_chart("ROC", std::span(&curve, 1)));
  report.charts.push_back(
      score_chart(verification.genuine_histogram, verification.impostor_histogram, "1:1"));
  report.pictures.push_back(
      template_pictures(kOnePerson, set, verification.hardest_genuine, image));
  report.pictures.push_back(
      template_pictures(kTwoPeople, set, verification.hardest_impostors, image));
  return report;
}

Report ifrt_report(const IfrtResult& result, const Features& features, const ImageOfRow& image,
                   std::string subtitle) {
  Report report{.title = "IFRT", .subtitle = std::move(subtitle)};
  ReportTable table{
      .title = "All against all",
      .columns = {"group", "identities", "images", "genuine pairs", "impostor pairs"}};
  std::size_t most = 0;
  bool resolved = true;
  Chart roc = empty_roc_chart();
  double least = 1;
  for (const GroupResult& group : result.groups) most = std::max(most, group.rates.size());
  for (const GroupResult& group : result.groups) {
    auto& row = table.rows.emplace_back();
    row = {{group.name},
           Cell::count(group.identities),
           Cell::count(group.images),
           Cell::count(group.genuine),
           Cell::count(group.impostors)};
    for (std::size_t i = 0; i < most; ++i) {
      if (group.rates.empty()) {
        row.insert(row.end(), {Cell::none(), Cell::none()});
        continue;
      }
      const AcceptRate& rate = group.rates[i];
      row.push_back(tar_cell(rate));
      row.push_back(Cell::number(rate.above));
      resolved = resolved && rate.resolved();
      if (std::ssize(table.columns) < std::ssize(row)) {
        table.columns.push_back("TAR % @" + far_text(rate.wanted_far));
        table.columns.push_back("score @" + far_text(rate.wanted_far));
      }
    }
    if (!group.rates.empty()) {
      add_curve(roc, roc_curve(group.name, group.genuine_histogram, group.impostor_histogram),
                least);
    }
  }
  roc.y.from = rate_axis_start(least);
  table.notes = {
      "TAR at a FAR of at most the given one: pairs whose cosine similarity is above the score are "
      "accepted; pairs unordered, counts exact"};
  if (!resolved) table.notes.emplace_back(kUnresolved);
  if (most == 0) table.notes.emplace_back("no group has pairs of both kinds");
  if (result.single > 0) {
    table.notes.push_back(counted(result.single, "identity") +
                          " with one image, in no genuine pair");
  }
  if (result.zeros > 0) table.notes.push_back(as_given(result.zeros, "embeddings"));
  report.tables.push_back(std::move(table));
  if (!roc.curves.empty()) report.charts.push_back(std::move(roc));
  const GroupResult& all = result.groups.back();
  report.charts.push_back(score_chart(all.genuine_histogram, all.impostor_histogram, all.name));
  report.pictures.push_back(pair_pictures(std::string(kOnePerson) + ", " + all.name,
                                          result.hardest_genuine, features, image, features,
                                          image));
  report.pictures.push_back(pair_pictures(std::string(kTwoPeople) + ", " + all.name,
                                          result.hardest_impostors, features, image, features,
                                          image));
  return report;
}

Report megaface_report(const MegafaceResult& result, const Features& probes,
                       const Features& distractors, const ImageOfRow& probe,
                       const ImageOfRow& distractor, std::string subtitle) {
  Report report{.title = "MegaFace", .subtitle = std::move(subtitle)};
  const AcceptRate& rate = result.verification;
  report.tables.push_back(
      {.title = "Summary",
       .columns = {"probes", "people", "distractors", "Id rank-1 %",
                   "Ver TAR % @" + far_text(rate.wanted_far), "score above"},
       .rows = {{Cell::count(result.probes), Cell::count(result.people),
                 Cell::count(result.distractors), Cell::percent(result.rank_1.back()),
                 tar_cell(rate), Cell::number(rate.above)}},
       .notes = {"Id: " + grouped(result.pairs) +
                     " ordered pairs of a probe and another image of its person",
                 counted(result.replaced, "probe") + " replaced and " +
                     counted(result.unmatched, "distractor") +
                     " that match nothing, by the lists of noise"}});
  if (!rate.resolved()) report.tables.back().notes.emplace_back(kUnresolved);
  ReportTable sizes{.title = "Identification by the number of distractors",
                    .columns = {"the first", "rank-1 %"}};
  for (std::size_t i = 0; i < result.sizes.size(); ++i)
    sizes.rows.push_back({Cell::count(result.sizes[i]), Cell::percent(result.rank_1[i])});
  report.tables.push_back(std::move(sizes));

  ChartCurve cmc{counted(result.distractors, "distractor"), {}};
  for (std::size_t i = 0; i < result.cmc.size(); ++i) {
    cmc.points.push_back({static_cast<double>(i + 1),
                          static_cast<double>(result.cmc[i]) / static_cast<double>(result.pairs)});
  }
  report.charts.push_back(
      {.title = "CMC",
       .note = "The share of pairs whose second image is found at this rank or before",
       .x = {.label = "Rank",
             .from = 1,
             .to = static_cast<double>(std::max<std::size_t>(2, result.cmc.size())),
             .logarithmic = true},
       .y = {.label = "Identification rate",
             .from = rate_axis_start(cmc.points.front().y),
             .to = 1,
             .percent = true},
       .curves = {cmc}});
  Chart roc = empty_roc_chart();
  double least = 1;
  add_curve(
      roc,
      roc_curve("FaceScrub against MegaFace", result.genuine_histogram, result.impostor_histogram),
      least);
  roc.y.from = rate_axis_start(least);
  report.charts.push_back(std::move(roc));
  report.charts.push_back(score_chart(result.genuine_histogram, result.impostor_histogram, ""));
  report.pictures.push_back(
      pair_pictures(kOnePerson, result.hardest_genuine, probes, probe, probes, probe));
  report.pictures.push_back(pair_pictures("A probe and a distractor, highest scores",
                                          result.hardest_impostors, probes, probe, distractors,
                                          distractor));
  return report;
}

}  // namespace pfc
