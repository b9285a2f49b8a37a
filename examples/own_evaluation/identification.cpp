#include "identification.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace {

/// Rows of unit length.
struct Rows {
  std::vector<std::int64_t> images;
  std::vector<std::string> people;
  std::vector<float> values;  ///< [images, d]

  void read(const pfc::Features& features) {
    values.resize(images.size() * static_cast<std::size_t>(features.dim()));
    pfc::read_unit_rows(features, images, values);
  }
  std::span<const float> row(std::size_t i) const {
    const std::size_t dim = values.size() / images.size();
    return std::span(values).subspan(i * dim, dim);
  }
};

/// In float64, as all protocols of pfc score.
double cosine(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0, std::plus(),
                            [](double x, double y) { return x * y; });
}

}  // namespace

Identification identify(const pfc::Features& features) {
  Rows enrolled, probes;
  std::set<std::string> people;
  for (std::int64_t i = 0; i < features.count(); ++i) {
    const std::string name = features.name(i), person = name.substr(0, name.find('/'));
    const bool is_first = people.insert(person).second;
    Rows& rows = is_first ? enrolled : probes;
    rows.images.push_back(i);
    rows.people.push_back(person);
  }
  enrolled.read(features);
  probes.read(features);

  Identification result{.people = std::ssize(enrolled.images), .probes = std::ssize(probes.images)};
  for (std::size_t probe = 0; probe < probes.images.size(); ++probe) {
    std::vector<double> scores;
    for (std::size_t i = 0; i < enrolled.images.size(); ++i)
      scores.push_back(cosine(probes.row(probe), enrolled.row(i)));
    const auto nearest = std::ranges::max_element(scores) - scores.begin();
    result.correct += enrolled.people[static_cast<std::size_t>(nearest)] == probes.people[probe];
  }
  return result;
}
