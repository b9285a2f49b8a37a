#include "pfc/eval/sub_center_cleaner.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <unordered_map>
#include <utility>

#include "eval/labelled_images.h"
#include "head/saved_centers.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

/// Finds the class of an identity of a set.
class ClassOf {
 public:
  explicit ClassOf(ClassIdentities identities) : identities_(std::move(identities)) {
    std::int64_t next = 0;
    for (const std::int32_t number : identities_.numbers) of_number_[number] = next++;
    for (const std::string& name : identities_.names) of_name_[name] = next++;
  }

  /// Nothing if the run that made the classes left it out.
  std::optional<std::int64_t> operator()(std::int64_t identity, const FaceSource& set) const {
    if (identities_.are_classes())
      return identity < identities_.classes ? std::optional(identity) : std::nullopt;
    return identities_.have_names() ? find(of_name_, set.identity_name(identity))
                                    : find(of_number_, identity);
  }

 private:
  template <class Map>
  static std::optional<std::int64_t> find(const Map& map, const typename Map::key_type& key) {
    const auto found = map.find(key);
    return found == map.end() ? std::nullopt : std::optional(found->second);
  }

  ClassIdentities identities_;
  std::unordered_map<std::int64_t, std::int64_t> of_number_;
  std::unordered_map<std::string, std::int64_t> of_name_;
};

SavedCenters open_sub_centers(const std::filesystem::path& folder) {
  SavedCenters saved(folder);
  if (saved.centers_a_class() < 2) {
    throw Error(folder.string() +
                ": its classes have one centre each; the run that makes sub-centres has "
                "head.margin = \"subcenter_arcface\" and head.sub_centers = 3");
  }
  if (!saved.identities()) {
    throw Error(folder.string() +
                ": saved by a version that did not note which identity a class is; make one more "
                "step of that run (--resume), whose checkpoint notes it");
  }
  return saved;
}

class SubCenterCleaner {
 public:
  SubCenterCleaner(Backbone& network, const std::filesystem::path& centers,
                   const LabelledImages::Open& open, const SubCenterOptions& options,
                   Communicator& comm)
      : folder_(centers),
        centers_(open_sub_centers(centers)),
        class_of_(*centers_.identities()),
        names_(open()),
        images_(network, open, options.batch_size, options.progress, comm),
        most_degrees_(options.degrees) {
    report_.centers_a_class = centers_.centers_a_class();
  }

  SubCenterReport run() {
    report_.passed_over = images_.require_order();
    report_.not_embedded = images_.embed(
        "embedding", [](std::int64_t) { return true; },
        [&](LabelledImages::Embedded image) {
          if (image.identity != identity_) finish_identity();
          identity_ = image.identity;
          rows_.push_back(std::move(image.unit));
          image_names_.push_back(image.name);
        });
    finish_identity();
    if (report_.identities == 0) {
      throw Error(report_.unknown == 0
                      ? "no image of the set can be embedded"
                      : folder_.string() +
                            ": has no centres of the set's identities; was that run "
                            "trained on this set?");
    }
    return std::move(report_);
  }

 private:
  void finish_identity() {
    if (rows_.empty()) return;
    if (const auto found = class_of_(identity_, *names_)) {
      look_at(at::stack(rows_), centers_of(*found));
    } else {
      report_.unknown += std::ssize(rows_);
    }
    rows_.clear();
    image_names_.clear();
  }

  /// [K, d] of unit length.
  at::Tensor centers_of(std::int64_t number) const {
    const at::Tensor found = at::empty({centers_.centers_a_class(), centers_.dim()}, at::kFloat);
    for (std::int64_t k = 0; k < found.size(0); ++k) {
      centers_.read({number * found.size(0) + k},
                    {found.mutable_data_ptr<float>() + k * found.size(1),
                     static_cast<std::size_t>(found.size(1))});
    }
    return found / found.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12);
  }

  /// rows [n, d] of an identity's images, centers [K, d]
  void look_at(const at::Tensor& rows, const at::Tensor& centers) {
    if (rows.size(1) != centers.size(1)) {
      throw Error(folder_.string() + ": its class centres have " + std::to_string(centers.size(1)) +
                  " numbers, the network's embeddings " + std::to_string(rows.size(1)));
    }
    const at::Tensor cosines = rows.matmul(centers.t()).contiguous();  // [n, K]
    const at::Tensor nearest = cosines.argmax(1);
    const at::Tensor images_of = at::bincount(nearest, {}, centers.size(0));
    const std::int64_t dominant = images_of.argmax().item<std::int64_t>();
    ++report_.identities;
    report_.images += rows.size(0);
    report_.at_dominant += images_of[dominant].item<std::int64_t>();
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const double cosine = std::clamp(cosines[i][dominant].item<double>(), -1.0, 1.0);
      const double degrees = std::acos(cosine) * 180 / std::numbers::pi;
      if (degrees <= most_degrees_) continue;
      report_.far.push_back({std::move(image_names_[static_cast<std::size_t>(i)]), identity_,
                             degrees, nearest[i].item<std::int64_t>(), dominant});
    }
  }

  const std::filesystem::path& folder_;
  SavedCenters centers_;
  ClassOf class_of_;
  std::unique_ptr<FaceSource> names_;  ///< knows the names of identities
  LabelledImages images_;
  double most_degrees_;
  SubCenterReport report_;
  // Of the identity whose images are coming.
  std::int64_t identity_ = -1;
  std::vector<at::Tensor> rows_;
  std::vector<std::string> image_names_;
};

}  // namespace

SubCenterReport clean_by_sub_centers(Backbone& network, const std::filesystem::path& centers,
                                     const std::function<std::unique_ptr<FaceSource>()>& open,
                                     const SubCenterOptions& options, Communicator& comm) {
  return SubCenterCleaner(network, centers, open, options, comm).run();
}

}  // namespace pfc
