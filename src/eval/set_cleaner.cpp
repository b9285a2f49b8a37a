#include "pfc/eval/set_cleaner.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "eval/duplicates.h"
#include "eval/labelled_images.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/model/backbone.h"

namespace pfc {
namespace {

constexpr std::int64_t kBlockCenters = 2048;  // centres in a product
constexpr std::int64_t kBlockRows = 2048;     // far images in one
/// Pairs of identities that look the same, for each identity. More would fill the memory; that
/// happens only with an untrained network.
constexpr std::int64_t kMostAlike = 32;

/// A histogram of numbers in [-1, 1].
class Histogram {
 public:
  void add(double cosine) {
    const double place = (std::clamp(cosine, -1.0, 1.0) + 1) / 2 * (kBins - 1);
    ++bins_[static_cast<std::size_t>(place)];
    ++count_;
  }
  /// The number above which a share `top` of all numbers lies.
  double above(double top) const {
    std::int64_t left = static_cast<std::int64_t>(top * static_cast<double>(count_));
    std::size_t bin = kBins - 1;
    while (bin > 0 && left >= bins_[bin]) left -= bins_[bin--];
    return 2 * static_cast<double>(bin + 1) / (kBins - 1) - 1;
  }

 private:
  static constexpr std::size_t kBins = 4001;
  std::array<std::int64_t, kBins> bins_{};
  std::int64_t count_ = 0;
};

/// [n] cosines of rows [n, d] of unit length to the mean of the other rows. Only rows for which
/// `in` [n] is set count in the mean.
at::Tensor cosines_to_others(const at::Tensor& rows, const at::Tensor& in) {
  const at::Tensor weights = in.to(at::kFloat).unsqueeze(1);
  const at::Tensor others = (rows * weights).sum(0, /*keepdim=*/true) - rows * weights;
  return (rows * others).sum(1) / others.norm(2, {1}).clamp_min(1e-12);
}

class Cleaner {
 public:
  Cleaner(Backbone& network, const std::function<std::unique_ptr<FaceSource>()>& open,
          const CleanOptions& options, Communicator& comm)
      : images_(network, open, options.batch_size, options.progress, comm),
        options_(options),
        comm_(comm) {}

  CleanReport run() {
    report_.passed_over = images_.require_order();
    look_at_identities();
    if (report_.identities == 0) throw Error("no image of the set can be embedded");
    report_.far = options_.far.value_or(impostors_.above(0.01));
    agree_with_the_first();
    look_at_far_images();
    keep_one_of_two();
    compare_identities();
    return std::move(report_);
  }

 private:
  void look_at_identities() {
    std::vector<at::Tensor> rows;
    std::vector<std::string> names;
    std::vector<std::int64_t> numbers;
    std::int64_t identity = -1;
    const auto finish = [&] {
      if (!rows.empty()) look_at(identity, at::stack(rows), names, numbers);
      rows.clear(), names.clear(), numbers.clear();
    };
    report_.not_embedded += images_.embed(
        "embedding", [](std::int64_t) { return true; },
        [&](LabelledImages::Embedded image) {
          if (image.identity != identity) finish();
          identity = image.identity;
          rows.push_back(std::move(image.unit));
          names.push_back(image.name);
          numbers.push_back(image.number);
        });
    finish();
    report_.images = std::ssize(cosines_);
  }

  /// Examines all images of an identity: rows [n, d].
  void look_at(std::int64_t identity, const at::Tensor& rows, const std::vector<std::string>& names,
               const std::vector<std::int64_t>& numbers) {
    if (static_cast<std::size_t>(identity) >= places_.size())
      places_.resize(static_cast<std::size_t>(identity) + 1, -1);
    places_[static_cast<std::size_t>(identity)] = report_.identities++;
    if (!centers_.empty()) {  // another identity's centre, to learn which cosines a wrong centre
                              // can have
      const at::Tensor other = center(report_.identities - 2, 1)[0];
      const at::Tensor cosines = rows.matmul(other);
      for (std::int64_t i = 0; i < cosines.size(0); ++i) impostors_.add(cosines[i].item<double>());
    }
    const std::int64_t n = rows.size(0);
    at::Tensor in = at::ones({n}, at::kBool), cosines = at::ones({n}, at::kFloat);
    if (n > 1) cosines = cosines_to_others(rows, in);
    if (n > 2) {
      in = cosines >= cosines.median() / 2;
      cosines = cosines_to_others(rows, in);
    }
    if (n == 1) ++report_.alone;
    if (n == 2) pairs_.insert(identity);
    add_center(identity, (rows * in.to(at::kFloat).unsqueeze(1)).sum(0));
    for (std::int64_t i = 0; i < n; ++i) {
      const auto number = static_cast<std::size_t>(numbers[static_cast<std::size_t>(i)]);
      if (number >= cosines_.size()) cosines_.resize(number + 1, 1.0f);
      cosines_[number] = cosines[i].item<float>();
    }
    find_duplicates(identity, rows, names);
  }

  void find_duplicates(std::int64_t identity, const at::Tensor& rows,
                       const std::vector<std::string>& names) {
    for (const DuplicateRow& found : duplicate_rows(rows, options_.duplicate)) {
      report_.duplicates.push_back({names[static_cast<std::size_t>(found.row)], identity,
                                    names[static_cast<std::size_t>(found.of)], found.cosine});
    }
  }

  void add_center(std::int64_t identity, const at::Tensor& sum) {
    const at::Tensor half = (sum / sum.norm().clamp_min(1e-12)).to(at::kHalf).contiguous();
    const auto* values = half.const_data_ptr<c10::Half>();
    centers_.insert(centers_.end(), values, values + half.numel());
    identities_.push_back(identity);
  }

  /// [count, d] float32 of unit length.
  at::Tensor center(std::int64_t first, std::int64_t count) {
    const std::int64_t dim = std::ssize(centers_) / std::ssize(identities_);
    return at::from_blob(centers_.data() + first * dim, {count, dim}, at::kHalf).to(at::kFloat);
  }

  /// With other processors or thread counts, ranks may differ in the last bits. But the images to
  /// examine again must be the same on all ranks.
  void agree_with_the_first() {
    at::Tensor far = at::scalar_tensor(report_.far, at::kDouble);
    comm_.broadcast(far).wait();
    report_.far = far.item<double>();
    at::Tensor cosines = at::from_blob(cosines_.data(), {std::ssize(cosines_)}, at::kFloat);
    comm_.broadcast(cosines).wait();
  }

  void look_at_far_images() {
    const auto is_far = [&](std::int64_t number) {
      const auto i = static_cast<std::size_t>(number);
      return i < cosines_.size() && cosines_[i] < report_.far;
    };
    std::vector<at::Tensor> rows;
    const auto flush = [&] {
      if (!rows.empty()) find_nearest(at::stack(rows));
      rows.clear();
    };
    report_.not_embedded +=
        images_.embed("looking at far images", is_far, [&](LabelledImages::Embedded image) {
          report_.far_images.push_back(
              {image.name, image.identity, cosines_[static_cast<std::size_t>(image.number)]});
          rows.push_back(std::move(image.unit));
          if (std::ssize(rows) == kBlockRows) flush();
        });
    flush();
  }

  /// For the last far images, whose embeddings are rows [n, d].
  void find_nearest(const at::Tensor& rows) {
    const std::int64_t n = rows.size(0), begin = std::ssize(report_.far_images) - n;
    for (std::int64_t first = 0; first < report_.identities; first += kBlockCenters) {
      const std::int64_t count = std::min(kBlockCenters, report_.identities - first);
      at::Tensor cosines = rows.matmul(center(first, count).t());
      for (std::int64_t i = 0; i < n; ++i) {
        FarImage& image = report_.far_images[static_cast<std::size_t>(begin + i)];
        const std::int64_t own = places_[static_cast<std::size_t>(image.identity)] - first;
        if (own >= 0 && own < count) cosines[i][own] = -2.0;
        const auto [most, place] = cosines[i].max(0);
        if (image.nearest >= 0 && most.item<double>() <= image.nearest_cosine) continue;
        image.nearest_cosine = most.item<double>();
        image.nearest = identities_[static_cast<std::size_t>(first + place.item<std::int64_t>())];
        image.stranger = image.nearest_cosine - image.cosine >= options_.margin;
      }
    }
  }

  /// If an identity has only two images, both are equally far from each other. Only the one that is
  /// closer to another identity is the stranger.
  void keep_one_of_two() {
    std::vector<FarImage>& images = report_.far_images;
    for (std::size_t i = 1; i < images.size(); ++i) {
      FarImage &one = images[i - 1], &other = images[i];
      if (one.identity != other.identity || !one.stranger || !other.stranger ||
          !pairs_.contains(one.identity))
        continue;
      (one.nearest_cosine < other.nearest_cosine ? one : other).stranger = false;
    }
  }

  void compare_identities() {
    for (std::int64_t first = 0; first < report_.identities; first += kBlockCenters) {
      const at::Tensor rows = center(first, std::min(kBlockCenters, report_.identities - first));
      for (std::int64_t other = first; other < report_.identities; other += kBlockCenters) {
        const at::Tensor columns =
            center(other, std::min(kBlockCenters, report_.identities - other));
        const at::Tensor cosines = rows.matmul(columns.t());
        const at::Tensor found = (cosines > options_.same).nonzero();
        for (std::int64_t i = 0; i < found.size(0); ++i) {
          const std::int64_t a = found[i][0].item<std::int64_t>();
          const std::int64_t b = found[i][1].item<std::int64_t>();
          if (other == first && b <= a) continue;  // itself, or the same pair again
          const auto [least, most] =
              std::minmax({identities_[static_cast<std::size_t>(first + a)],
                           identities_[static_cast<std::size_t>(other + b)]});
          report_.same.push_back({least, most, cosines[a][b].item<double>()});
          if (std::ssize(report_.same) > kMostAlike * report_.identities) {
            throw Error("more than " + counted(kMostAlike * report_.identities, "pair") + " of " +
                        counted(report_.identities, "identity") +
                        " look the same: the network tells nobody apart; use one that is trained, "
                        "or raise the cosine above which two look the same");
          }
        }
      }
      options_.progress("comparing identities", std::min(first + kBlockCenters, report_.identities),
                        report_.identities);
    }
  }

  LabelledImages images_;
  const CleanOptions& options_;
  Communicator& comm_;
  CleanReport report_;
  std::vector<std::int64_t> places_;        // by identity: its number in identities_, or -1
  std::vector<std::int64_t> identities_;    // in the order in which they came
  std::vector<c10::Half> centers_;          // [identities, d]
  std::unordered_set<std::int64_t> pairs_;  // identities with two images
  std::vector<float> cosines_;              // of each image to its own centre
  Histogram impostors_;                     // cosines of images to other centres
};

}  // namespace

CleanReport clean(Backbone& network, const std::function<std::unique_ptr<FaceSource>()>& open,
                  const CleanOptions& options, Communicator& comm) {
  return Cleaner(network, open, options, comm).run();
}

}  // namespace pfc
