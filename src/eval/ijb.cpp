#include "pfc/eval/ijb.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "pfc/eval/impostor_scores.h"

namespace pfc {
namespace {

std::span<const double> template_at(const IjbTemplates& templates, std::int64_t place) {
  const auto dim = static_cast<std::size_t>(templates.dim);
  return std::span(templates.values).subspan(static_cast<std::size_t>(place) * dim, dim);
}

/// The place of each template id among the templates.
class Places {
 public:
  explicit Places(const IjbTemplates& templates)
      : places_(static_cast<std::size_t>(templates.ids.back()) + 1, -1) {
    for (std::size_t i = 0; i < templates.ids.size(); ++i)
      places_[static_cast<std::size_t>(templates.ids[i])] = static_cast<std::int32_t>(i);
  }
  std::int64_t of(std::int32_t id) const {
    const bool known =
        static_cast<std::size_t>(id) < places_.size() && places_[static_cast<std::size_t>(id)] >= 0;
    if (!known) throw Error("no image belongs to template " + std::to_string(id));
    return places_[static_cast<std::size_t>(id)];
  }

 private:
  std::vector<std::int32_t> places_;
};

}  // namespace

IjbTemplates pool_templates(const IjbImages& images, const Features& features,
                            const IjbOptions& options) {
  const auto dim = static_cast<std::size_t>(features.dim());
  std::vector<std::int64_t> order(static_cast<std::size_t>(images.count()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  const auto owner = [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    return std::pair(images.templates[at], images.media[at]);
  };
  std::ranges::stable_sort(order, {}, owner);

  IjbTemplates result{.dim = features.dim()};
  std::vector<float> row(dim);
  std::vector<double> medium(dim);
  std::int64_t of_medium = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int64_t image = order[i];
    const auto at = static_cast<std::size_t>(image);
    if (result.ids.empty() || result.ids.back() != images.templates[at]) {
      result.ids.push_back(images.templates[at]);
      result.values.resize(result.values.size() + dim);
    }
    features.read_row(image, row);
    if (!std::ranges::all_of(row, [](float value) { return std::isfinite(value); }) ||
        !std::isfinite(images.scores[at])) {
      throw Error(features.place(image) + ": a value that is not finite");
    }
    if (options.normalise_images) normalise(row);
    const double weight = options.use_detector_score ? static_cast<double>(images.scores[at]) : 1;
    for (std::size_t k = 0; k < dim; ++k) medium[k] += weight * static_cast<double>(row[k]);
    ++of_medium;
    if (i + 1 < order.size() && owner(order[i + 1]) == owner(image)) continue;
    double* const sum = result.values.data() + result.values.size() - dim;
    for (std::size_t k = 0; k < dim; ++k) sum[k] += medium[k] / static_cast<double>(of_medium);
    std::ranges::fill(medium, 0);
    of_medium = 0;
    if (i % (1 << 14) == 0) features.forget();
  }
  for (std::size_t i = 0; i < result.ids.size(); ++i) {
    const auto place = static_cast<std::int64_t>(i);
    const auto values = template_at(result, place);
    const double norm = std::sqrt(exact_score(values, values));
    result.zeros += norm == 0;
    for (std::size_t k = 0; norm > 0 && k < dim; ++k) result.values[i * dim + k] /= norm;
  }
  return result;
}

IjbVerification verify_templates(const IjbTemplates& templates, const IjbPairs& pairs) {
  const Places places(templates);
  std::vector<double> scores(pairs.same.size());
  at::parallel_for(0, std::ssize(scores), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      scores[i] = exact_score(template_at(templates, places.of(pairs.first[i])),
                              template_at(templates, places.of(pairs.second[i])));
    }
  });
  IjbVerification result{.roc = Roc(scores, pairs.same)};
  const Roc corners = result.roc.corners();
  for (std::size_t i = 0; i < result.points.size(); ++i) {
    result.points[i] = corners.nearest(IjbVerification::kFars[i]);
    result.of_every_score[i] = result.roc.nearest(IjbVerification::kFars[i]);
  }
  std::vector<double> genuine, impostors;
  for (std::size_t i = 0; i < scores.size(); ++i)
    (pairs.same[i] != 0 ? genuine : impostors).push_back(scores[i]);
  result.genuine_histogram = score_histogram(genuine);
  result.impostor_histogram = score_histogram(impostors);
  result.hardest_genuine = hardest_pairs(scores, pairs.same, true);
  result.hardest_impostors = hardest_pairs(scores, pairs.same, false);
  return result;
}

}  // namespace pfc
