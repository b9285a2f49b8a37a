#include "pfc/eval/ijb.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "eval/unit_rows.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

double dot(const double* a, const double* b, std::int64_t dim) {
  constexpr std::int64_t kSums = 8;  // independent of each other, for the processor's vectors
  std::array<double, kSums> sums{};
  std::int64_t i = 0;
  for (; i + kSums <= dim; i += kSums) {
    for (std::int64_t k = 0; k < kSums; ++k)
      sums[static_cast<std::size_t>(k)] += a[i + k] * b[i + k];
  }
  for (; i < dim; ++i) sums[0] += a[i] * b[i];
  return std::accumulate(sums.begin(), sums.end(), 0.0);
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
  for (std::size_t begin = 0; begin < result.values.size(); begin += dim) {
    double* const values = result.values.data() + begin;
    const double norm = std::sqrt(dot(values, values, result.dim));
    result.zeros += norm == 0;
    for (std::size_t k = 0; norm > 0 && k < dim; ++k) values[k] /= norm;
  }
  return result;
}

IjbVerification verify_templates(const IjbTemplates& templates, const IjbPairs& pairs) {
  const Places places(templates);
  std::vector<double> scores(pairs.same.size());
  at::parallel_for(0, std::ssize(scores), 4096, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      scores[i] =
          dot(templates.values.data() + places.of(pairs.first[i]) * templates.dim,
              templates.values.data() + places.of(pairs.second[i]) * templates.dim, templates.dim);
    }
  });
  IjbVerification result{.roc = Roc(scores, pairs.same)};
  for (std::size_t i = 0; i < result.points.size(); ++i)
    result.points[i] = result.roc.nearest(IjbVerification::kFars[i]);
  return result;
}

}  // namespace pfc
