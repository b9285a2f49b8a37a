#include "train/starting_point.h"

#include <ATen/Functions.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "head/saved_centers.h"
#include "model/folded_norms.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"
#include "pfc/base/progress.h"
#include "pfc/comm/long_work.h"
#include "pfc/eval/embedder.h"
#include "pfc/model/backbone_file.h"
#include "pfc/train/manifest.h"
#include "train/class_map.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRowsAtATime = 4096;

/// Ranks make their networks from one seed, but on different machines the last bits may differ.
void start_alike(Backbone& backbone, Communicator& comm) {
  const torch::NoGradGuard no_grad;
  for (at::Tensor& parameter : backbone.parameters()) {
    at::Tensor plain = parameter.contiguous();  // on GPUs it is in channels_last
    parameter.copy_(comm.broadcast(plain).wait());
  }
  for (at::Tensor& buffer : backbone.buffers()) comm.broadcast(buffer).wait();
}

void take_backbone(const Config& config, Backbone& backbone, const Communicator& comm) {
  const fs::path from = config.init.from;
  const fs::path file = fs::is_directory(from) ? from / "backbone.safetensors" : from;
  if (fs::is_directory(from) && !fs::exists(file)) {
    throw Error(from.string() +
                ": not a checkpoint, it has no backbone.safetensors; those of a run "
                "are in its checkpoints/step-…");
  }
  const BackboneName found = name_of_backbone(file, config.model.network);
  if (found.embedding_size != config.model.embedding_size) {
    throw Error(file.string() + ": its embeddings have " + std::to_string(found.embedding_size) +
                " numbers, this run's " + std::to_string(config.model.embedding_size) +
                "; set model.embedding_size to the same");
  }
  if (found.network != config.model.network) {
    throw Error(file.string() + ": a " + found.network + ", this run trains a " +
                config.model.network + "; set model.network to the same");
  }
  const std::string left_out = load_backbone(file, backbone);
  if (!left_out.empty() && comm.is_first()) tell(left_out);
}

/// The identities of saved centres. Older versions and conversions did not note them. If such a run
/// left nothing out, class i was identity i, unless the data's own numbers had gaps.
ClassIdentities identities_of(const SavedCenters& saved, const fs::path& from, bool is_first) {
  if (auto identities = saved.identities()) return *std::move(identities);
  const ClassIdentities assumed{.classes = saved.classes()};
  const fs::path file = from / "manifest.json";
  if (!is_there(file)) return assumed;  // converted: InsightFace's code uses labels unchanged
  const Manifest manifest = parse_manifest(read_file(file), file.string());
  const Config then = parse_config(manifest.config, file.string(), {});
  if (then.data.min_images > 1 || !manifest.excluded.empty()) {
    throw Error(
        from.string() +
        ": saved by a version that did not note which identity a class is, and its run left "
        "some out; make one more step of that run (--resume --set train.steps=" +
        std::to_string(manifest.step + 1) + "), whose checkpoint notes it");
  }
  if (is_first) {
    tell(from.string() +
         ": saved by a version that did not note which identity a class is: class 0 is taken for "
         "identity 0 of its data, and so on");
  }
  return assumed;
}

ClassMap map_classes(const std::string& class_map, const ClassIdentities& here,
                     const ClassIdentities& there) {
  ClassMap map = class_map == "same"
                     ? same_identities(here, there)
                     : parse_class_map(read_file(class_map), class_map, here, there);
  if (std::ranges::all_of(map.there, [](std::int64_t other) { return other < 0; })) {
    throw Error("init.class_map is " + class_map +
                ", by which no identity of this set has a class centre there");
  }
  return map;
}

/// Fills the rows whose class has a saved class in `map`.
void take_centers(const SavedCenters& saved, const std::vector<std::int64_t>& map,
                  CenterTable& table) {
  const std::int64_t centers = table.shard().centers_a_class();
  for (std::int64_t begin = 0; begin < table.shard().rows(); begin += kRowsAtATime) {
    const std::int64_t rows = std::min(kRowsAtATime, table.shard().rows() - begin);
    const at::Tensor part = table.weights().narrow(0, begin, rows);
    const at::Tensor values = part.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    for (std::int64_t i = 0; i < rows; ++i) {
      const GlobalClass c = table.shard().global({begin + i});
      const std::int64_t other = map[static_cast<std::size_t>(c.v / centers)];
      if (other < 0) continue;
      saved.read({other * centers + c.v % centers},
                 {values.mutable_data_ptr<float>() + i * table.dim(),
                  static_cast<std::size_t>(table.dim())});
    }
    part.copy_(values);
  }
}

/// Images of a data set, by their numbers in it.
class SomeImages final : public ImageSource {
 public:
  SomeImages(const Dataset& dataset, std::vector<std::int64_t> images)
      : dataset_(dataset), images_(std::move(images)) {}

  std::int64_t size() const override { return std::ssize(images_); }
  std::span<const std::byte> image(std::int64_t i, std::vector<std::byte>& scratch) const override {
    return dataset_.image(number(i), scratch);
  }
  std::string name(std::int64_t i) const override { return dataset_.key(number(i)); }
  std::int64_t label(std::int64_t i) const {
    return dataset_.labels()[static_cast<std::size_t>(number(i))];
  }

 private:
  std::int64_t number(std::int64_t i) const { return images_[static_cast<std::size_t>(i)]; }

  const Dataset& dataset_;
  std::vector<std::int64_t> images_;
};

/// The images of this rank's classes that have no saved class in `map`, class by class.
SomeImages images_of_new(const Dataset& dataset, const std::vector<std::int64_t>& map,
                         const ClassShard& shard) {
  const auto labels = dataset.labels();
  std::vector<std::int64_t> images;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const auto label = static_cast<std::size_t>(labels[static_cast<std::size_t>(i)]);
    if (map[label] < 0 && shard.owns({labels[static_cast<std::size_t>(i)]})) images.push_back(i);
  }
  std::ranges::stable_sort(images, {},
                           [&](std::int64_t i) { return labels[static_cast<std::size_t>(i)]; });
  return {dataset, std::move(images)};
}

/// Sets rows to the direction of the mean of their images' unit embeddings, with the length of a
/// drawn centre.
class MeanCenters {
 public:
  explicit MeanCenters(CenterTable& table)
      : table_(table), sum_(at::zeros({table.dim()}, at::kDouble)) {}

  void add(std::int64_t label, std::span<const float> embedding) {
    if (label != label_) flush();
    label_ = label;
    const at::Tensor row =
        at::from_blob(const_cast<float*>(embedding.data()), {std::ssize(embedding)}, at::kFloat)
            .to(at::kDouble);
    sum_ += row / row.norm().clamp_min(1e-12);
  }

  void flush() {
    if (label_ < 0) return;
    const double norm =
        CenterTable::kInitialDeviation * std::sqrt(static_cast<double>(table_.dim()));
    // The first of the class's centres: were several equal, only one of them would ever be nearest.
    const LocalRow row = table_.shard().row({label_ * table_.shard().centers_a_class()});
    table_.weights()[row.v].copy_(sum_ * (norm / sum_.norm().clamp_min(1e-12).item<double>()));
    sum_.zero_();
    label_ = -1;
  }

 private:
  CenterTable& table_;
  at::Tensor sum_;  ///< [dim] float64
  std::int64_t label_ = -1;
};

void take_means(const Dataset& dataset, const std::vector<std::int64_t>& map, Backbone& backbone,
                CenterTable& table, const Communicator& comm) {
  const SomeImages images = images_of_new(dataset, map, table.shard().of_centers(1));
  if (images.size() == 0) return;
  ProgressLine line(images.size(), 0, !comm.is_first());
  MeanCenters means(table);
  embed(backbone, images,
        {.embedding = [&](std::int64_t i,
                          std::span<const float> row) { means.add(images.label(i), row); },
         .left_out =
             [&](std::int64_t i, const std::string& reason) {
               line.note("left out of its class's mean: " + images.name(i) + ": " + reason);
             }},
        {.progress = [&](std::int64_t done, std::int64_t total) {
          line.show(done, "mean embeddings: " + grouped(done) + " of " + counted(total, "image"));
        }});
  means.flush();
}

/// A network of an ONNX file may lack the statistics of its normalisations: training wants them.
void complete_norms(const Config& config, const Dataset& dataset, Backbone& backbone,
                    Communicator& comm) {
  constexpr std::int64_t kImages = 1024;
  const auto norms = folded_norms(backbone);
  if (norms.empty()) return;
  std::vector<std::int64_t> numbers;  // spread over the set, because it is often in a sorted order
  const std::int64_t count = std::min(kImages, dataset.size());
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(i * dataset.size() / count);
  const SomeImages images(dataset, std::move(numbers));
  if (comm.is_first()) {
    tell(config.init.from + ": " + counted(std::ssize(norms), "batch normalisation") +
         " were folded into other layers when it was exported; their statistics are measured on " +
         counted(count, "image") + " of the training set");
  }
  long_work(comm, [&] {
    measure_norms(norms, [&] {
      embed(backbone, images,
            {.embedding = [](std::int64_t, std::span<const float>) {},
             .left_out = [](std::int64_t, const std::string&) {}});
    });
  });
  start_alike(backbone, comm);
}

/// Opens the centres of `init.from`, from which `init.class_map` takes some.
SavedCenters open_centers(const Config& config) {
  SavedCenters saved(config.init.from);
  if (saved.dim() != config.model.embedding_size) {
    throw Error(config.init.from + ": its class centres have " + std::to_string(saved.dim()) +
                " numbers, this run's " + std::to_string(config.model.embedding_size));
  }
  const std::int64_t centers = centers_a_class(config.head.loss());
  if (saved.centers_a_class() != centers) {
    throw Error(config.init.from + ": has " + counted(saved.centers_a_class(), "centre") +
                " a class, this run's loss (head.margin, head.sub_centers) " +
                std::to_string(centers));
  }
  return saved;
}

void require_starting_point(const Config& config) {
  const Config::Init& init = config.init;
  if (init.from.empty() && (!init.class_map.empty() || init.new_centers == NewCenters::kMean))
    throw Error("init.class_map and init.new_centers = mean want init.from, the trained network");
  if (!init.from.empty() && !is_there(init.from))
    throw Error("init.from: there is no " + init.from);
  if (init.class_map.empty()) return;
  if (init.class_map != "same" && !is_there(init.class_map))
    throw Error("init.class_map: there is no " + init.class_map + "; want a file, or \"same\"");
  // A pipe can be read only once, and that happens when the sets are known.
  if (init.class_map != "same" && (is_file(init.class_map) || is_folder(init.class_map)))
    require_class_map(read_file(init.class_map), init.class_map);
  open_centers(config);
}

void make_centers(const Config& config, const Dataset& dataset, Backbone& backbone,
                  CenterTable& table, const Communicator& comm) {
  const std::int64_t classes = table.shard().of_centers(1).classes();
  std::vector<std::int64_t> map(static_cast<std::size_t>(classes), -1);
  std::int64_t unknown = 0;
  if (!config.init.class_map.empty()) {
    const SavedCenters saved = open_centers(config);
    const ClassIdentities there = identities_of(saved, config.init.from, comm.is_first());
    ClassMap found = map_classes(config.init.class_map, dataset.class_identities(), there);
    map = std::move(found.there);
    unknown = found.unknown;
    take_centers(saved, map, table);
  }
  const auto fresh = std::ranges::count(map, -1);
  const bool means = config.init.new_centers == NewCenters::kMean;
  if (comm.is_first() && (fresh < classes || means)) {
    tell("class centres: " + grouped(classes - fresh) + " taken from " + config.init.from + ", " +
         grouped(fresh) + (means ? " from the mean embedding of their images" : " drawn"));
    if (unknown > 0) {
      tell(config.init.class_map + ": " + counted(unknown, "line") +
           " of an identity that one of the two sets left out");
    }
  }
  if (means) take_means(dataset, map, backbone, table, comm);
}

}  // namespace

void start_network(const Config& config, Backbone& backbone, Communicator& comm) {
  long_work(comm, [&] {
    require_starting_point(config);
    if (!config.init.from.empty()) take_backbone(config, backbone, comm);
  });
  start_alike(backbone, comm);
}

void start_centers(const Config& config, const Dataset& dataset, Backbone& backbone,
                   CenterTable& table, Communicator& comm) {
  if (config.init.from.empty()) return;
  complete_norms(config, dataset, backbone, comm);
  long_work(comm, [&] { make_centers(config, dataset, backbone, table, comm); });
}

}  // namespace pfc
