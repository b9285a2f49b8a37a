#include "native/data.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "native/errors.h"
#include "native/fields.h"
#include "native/join.h"
#include "pfc/base/format.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/synthetic_set.h"
#include "pfc/model/backbone.h"
#include "pfc/plan/sampler.h"
#include "train/config_fields.h"
#include "train/from_config.h"
#include "train/same_data.h"
#include "train/training_set.h"

namespace pfc::python {
namespace {

constexpr py::call_guard<py::gil_scoped_release> kWithoutLock;

/// The configuration that has these keys, "data.mirror" for example.
Config config_of(const py::dict& keys) {
  Config config;
  const std::vector<Field> all = fields(config);
  for (const auto& [key, value] : keys) {
    const std::string wanted_key = py::str(key);
    const auto field = std::ranges::find(all, wanted_key, &Field::key);
    const std::string name = wanted_key.substr(wanted_key.find('.') + 1);
    if (field == all.end()) throw std::invalid_argument("there is no setting " + name);
    set(*field, name, value);
  }
  return config;
}

py::dict augmentation_settings() {
  py::dict all;
  for (const Augmentation* each : augmentations()) {
    py::dict one;
    one["probability"] = each->probability;
    for (const AugmentationSetting& setting : each->settings)
      one[py::str(setting.name)] = setting.usual;
    all[py::str(each->name)] = one;
  }
  return all;
}

at::Tensor labels_of(const Dataset& dataset) {
  at::Tensor labels = at::empty({dataset.size()}, at::kLong);
  std::ranges::copy(dataset.labels(), labels.mutable_data_ptr<std::int64_t>());
  return labels;
}

py::dict summary_of(const Dataset& dataset) {
  const DatasetSummary& found = dataset.summary();
  py::dict summary;
  summary["images_found"] = found.images_found;
  summary["identities_found"] = found.identities_found;
  summary["identities_dropped"] = found.identities_dropped;
  summary["images_dropped"] = found.images_dropped;
  summary["images_excluded"] = found.images_excluded;
  summary["passed_over"] = found.passed_over;
  return summary;
}

/// What `resume` compares, and what it needs to open the same set.
py::dict described(const Dataset& dataset) {
  Manifest manifest;
  describe(dataset, manifest);
  py::dict state;
  state["images"] = manifest.images;
  state["identities"] = manifest.identities;
  state["labels"] = manifest.labels;
  state["people"] = manifest.people;
  state["excluded"] = manifest.excluded;
  return state;
}

Manifest manifest_of(const py::dict& state) {
  Manifest manifest;
  manifest.images = state["images"].cast<std::int64_t>();
  manifest.identities = state["identities"].cast<std::int64_t>();
  manifest.labels = state["labels"].cast<std::uint64_t>();
  manifest.people = state["people"].cast<std::uint64_t>();
  manifest.excluded = state["excluded"].cast<std::vector<std::string>>();
  return manifest;
}

/// Images [height, width, 3] uint8 of any size.
at::Tensor image_at(const Dataset& dataset, std::int64_t index) {
  std::vector<std::byte> scratch;
  return refusing([&] {
    try {
      const RgbImage image = decode_image(dataset.image(index, scratch));
      at::Tensor pixels = at::empty({image.height, image.width, 3}, at::kByte);
      std::memcpy(pixels.mutable_data_ptr(), image.pixels.data(), image.pixels.size());
      return pixels;
    } catch (const IoError&) {  // says where already
      throw;
    } catch (const Error& error) {
      throw Error("image " + dataset.key(index) + ": " + error.what());
    }
  });
}

/// Gives the place of an image that did not decode to the next one of the batch that did.
void replace_broken(Batch& batch, std::vector<std::int64_t>& labels) {
  const std::size_t images = batch.valid.size(), bytes = batch.pixels.size() / images;
  for (std::size_t i = 0; i < images; ++i) {
    if (batch.valid[i] != 0) continue;
    std::size_t other = i;
    do other = (other + 1) % images;
    while (batch.valid[other] == 0 && other != i);
    if (other == i) {
      throw Error("step " + std::to_string(batch.step) +
                  ": no image of this rank's batch decodes; the last one: " + batch.corrupt.back());
    }
    std::copy_n(batch.pixels.data() + other * bytes, bytes, batch.pixels.data() + i * bytes);
    labels[i] = labels[other];
  }
}

}  // namespace

BatchStream::BatchStream(Config config, const BatchForm& form,
                         const std::optional<std::string>& group, int rank, int world)
    : config_(std::move(config)),
      form_(form),
      comm_(join(group, at::kCPU)),
      rank_(group ? comm_->rank() : rank),
      world_(group ? comm_->world() : world),
      place_(place_ranks(*comm_)),
      dataset_(open(std::nullopt)) {
  if (world_ < 1 || rank_ < 0 || rank_ >= world_) {
    throw Error("rank is " + std::to_string(rank_) + " of " + counted(world_, "rank") +
                ", want one from 0 to the number of ranks - 1");
  }
  const std::int64_t images = config_.train.batch_size;
  config_.train.batch_size *= world_;
  if (config_.train.batch_size > dataset_->size()) {
    throw Error("batch_size is " + grouped(images) +
                (world_ > 1 ? " on each of " + counted(world_, "rank") : "") +
                ", more than the set has images, " + grouped(dataset_->size()));
  }
}

BatchStream::~BatchStream() {
  // The threads are not there in a fork, and nobody may wait for them.
  if (::getpid() != process_) static_cast<void>(loader_.release());
}

void BatchStream::require_this_process() const {
  if (::getpid() == process_) return;
  throw Error("the loader belongs to process " + std::to_string(process_) +
              ", and this is a fork of it, which has none of its threads: make a loader in each "
              "process");
}

std::unique_ptr<Dataset> BatchStream::open(const std::optional<Manifest>& resumed) {
  return opening(config_.data.train,
                 [&] { return open_training_set(config_, resumed, place_, *comm_); });
}

void BatchStream::start() {
  // The head draws its classes by itself.
  const ClassSampler no_classes({.sample_rate = 0, .seed = config_.train.seed},
                                ClassShard(dataset_->identities(), rank_, world_));
  planner_.emplace(planner_options(config_), dataset_->labels(), no_classes);
  read_ahead_.emplace(*dataset_, planner_options(config_));
  loader_ = std::make_unique<Loader>(
      *dataset_,
      [this](std::int64_t step) {
        read_ahead_->before(step);
        return planner_->at(step);
      },
      step_, rank_, world_, loader_options(config_, place_));
}

std::tuple<at::Tensor, at::Tensor, std::vector<std::string>> BatchStream::next() {
  require_this_process();
  const std::lock_guard lock(mutex_);
  if (closed_) throw std::runtime_error("the loader is closed");
  return refusing([&] {
    if (!loader_) start();
    auto [plan, batch] = loader_->next();
    std::vector<std::int64_t> labels(batch.valid.size());
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] = plan.labels[plan.place(rank_, world_, i)].v;
    std::vector<std::string> corrupt = batch.corrupt;
    if (!corrupt.empty()) replace_broken(batch, labels);
    at::Tensor images = in_form(batch);
    loader_->recycle(std::move(batch));
    ++step_;
    at::Tensor of_images = at::tensor(labels, at::kLong);
    if (!form_.device.is_cpu()) {
      of_images = on_device(of_images);
    } else if (form_.is_pinned) {
      of_images = of_images.pin_memory();
    }
    return std::tuple(std::move(images), std::move(of_images), std::move(corrupt));
  });
}

/// A copy: the batch's memory is used again.
at::Tensor BatchStream::in_form(Batch& batch) const {
  const at::NoGradGuard no_gradients;
  const auto images = static_cast<std::int64_t>(batch.valid.size());
  at::Tensor pixels =
      at::from_blob(batch.pixels.data(), {images, kFaceSize, kFaceSize, 3}, at::kByte);
  const bool moves = !form_.device.is_cpu();
  if (moves) pixels = on_device(pixels);  // bytes travel, and become floats there
  if (!form_.normalised) {
    if (moves) return pixels;
    return form_.is_pinned ? pixels.pin_memory() : pixels.clone();
  }
  const at::Tensor input = to_network_input(pixels).contiguous(
      form_.is_channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  return form_.is_pinned && !moves ? input.pin_memory() : input;
}

/// A copy on the device, which is no CPU. The host does not wait for it.
at::Tensor BatchStream::on_device(const at::Tensor& tensor) const {
  return tensor.pin_memory().to(form_.device, /*non_blocking=*/true);
}

void BatchStream::resume(std::int64_t step, const Manifest& manifest) {
  require_this_process();
  const std::lock_guard lock(mutex_);
  if (closed_) throw std::runtime_error("the loader is closed");
  if (step < 0) throw Error("step is " + std::to_string(step) + ", want 0 or more");
  if (manifest.excluded == dataset_->excluded()) {
    require_same_data(*dataset_, manifest);
    loader_.reset();
  } else {
    auto before = open(manifest);
    loader_.reset();
    dataset_ = std::move(before);
  }
  step_ = step;
}

void BatchStream::close() {
  if (::getpid() != process_) return;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  loader_.reset();
}

void bind_data(py::module_& m) {
  m.def("augmentations", &augmentation_settings);
  m.def(
      "draw_faces",
      [](const std::string& folder, std::int64_t identities, std::int64_t images,
         std::int64_t unseen, std::int64_t pairs, std::uint64_t seed) {
        refusing([&] {
          write_synthetic_set({.folder = folder,
                               .identities = identities,
                               .images = images,
                               .unseen = unseen,
                               .pairs = pairs,
                               .seed = seed,
                               .threads = at::get_num_threads()});
        });
      },
      kWithoutLock);

  py::class_<BatchStream>(m, "BatchStream")
      .def(py::init([](const py::dict& keys, bool normalised, bool channels_last, bool pinned,
                       at::Device device, const std::optional<std::string>& group, int rank,
                       int world) {
             Config config = config_of(keys);
             const BatchForm form{normalised, channels_last, pinned, device};
             const py::gil_scoped_release unlocked;
             return refusing([&] {
               return std::make_unique<BatchStream>(std::move(config), form, group, rank, world);
             });
           }),
           py::kw_only(), py::arg("keys"), py::arg("normalised"), py::arg("channels_last"),
           py::arg("pinned"), py::arg("device"), py::arg("group"), py::arg("rank"),
           py::arg("world_size"))
      .def(
          "next", [](BatchStream& stream) { return refusing([&] { return stream.next(); }); },
          kWithoutLock)
      .def(
          "resume",
          [](BatchStream& stream, std::int64_t step, const py::dict& state) {
            const Manifest manifest = manifest_of(state);
            const py::gil_scoped_release unlocked;
            refusing([&] { stream.resume(step, manifest); });
          },
          py::arg("step"), py::arg("state"))
      .def("close", &BatchStream::close, kWithoutLock)
      .def("described", [](const BatchStream& stream) { return described(stream.dataset()); })
      .def("summary", [](const BatchStream& stream) { return summary_of(stream.dataset()); })
      .def_property_readonly("step", &BatchStream::step)
      .def_property_readonly("images",
                             [](const BatchStream& stream) { return stream.dataset().size(); })
      .def_property_readonly(
          "identities", [](const BatchStream& stream) { return stream.dataset().identities(); })
      .def_property_readonly("rank", &BatchStream::rank)
      .def_property_readonly("world_size", &BatchStream::world);

  py::class_<Dataset>(m, "Dataset")
      .def(py::init([](const std::string& path, int min_images, const std::string& cache_dir,
                       const std::optional<std::vector<std::string>>& excluded) {
             return refusing([&] {
               return opening(path, [&] {
                 return open_dataset({.path = path,
                                      .cache_dir = cache_dir,
                                      .min_images = min_images,
                                      .excluded = excluded});
               });
             });
           }),
           py::arg("path"), py::arg("min_images"), py::arg("cache_dir"), py::arg("excluded"),
           kWithoutLock)
      .def("image", &image_at, kWithoutLock)
      .def("key", &Dataset::key)
      .def("label",
           [](const Dataset& dataset, std::int64_t index) {
             return dataset.labels()[static_cast<std::size_t>(index)];
           })
      .def("labels", &labels_of)
      .def("summary", &summary_of)
      .def("excluded", &Dataset::excluded)
      .def_property_readonly("images", &Dataset::size)
      .def_property_readonly("identities", &Dataset::identities);
}

}  // namespace pfc::python
