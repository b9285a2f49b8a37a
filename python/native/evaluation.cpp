#include "native/evaluation.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/python_variable.h>

#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "native/errors.h"
#include "native/join.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/outputs.h"
#include "pfc/base/paths.h"
#include "pfc/comm/long_work.h"
#include "pfc/data/decode_check.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/image_source.h"
#include "pfc/data/verification_set.h"
#include "pfc/eval/embedder.h"
#include "pfc/eval/ifrt.h"
#include "pfc/eval/ijb.h"
#include "pfc/eval/megaface.h"
#include "pfc/eval/megaface_files.h"
#include "pfc/eval/protocol_reports.h"
#include "pfc/eval/roc_svg.h"
#include "pfc/eval/verification.h"
#include "pfc/model/backbone.h"

namespace pfc::python {
namespace {

namespace fs = std::filesystem;

constexpr py::call_guard<py::gil_scoped_release> kWithoutLock;

/// A function of the user's that embeds images, which come to it on the given device.
class UsersNetwork final : public Backbone {
 public:
  /// `embed` must outlive this object.
  UsersNetwork(const py::object& embed, at::Device device) : embed_(embed) {
    // Images go where a network's parameters are.
    register_parameter("place", at::empty({0}, device), /*requires_grad=*/false);
  }

  at::Tensor forward(at::Tensor images) override {
    const std::int64_t count = images.size(0);
    const at::Tensor embeddings = call(std::move(images));
    const bool fits = embeddings.dim() == 2 && embeddings.size(0) == count &&
                      embeddings.size(1) > 0 && embeddings.is_floating_point();
    if (!fits || (dim_ > 0 && embeddings.size(1) != dim_)) {
      throw Error("embed gave " + embeddings.toString() + " " + c10::str(embeddings.sizes()) +
                  " for " + counted(count, "image") + ", want floats [" + std::to_string(count) +
                  ", " + (dim_ > 0 ? std::to_string(dim_) + "], as before" : "d]"));
    }
    dim_ = embeddings.size(1);
    return embeddings.detach().to(at::kFloat);
  }

 private:
  at::Tensor call(at::Tensor images) {
    const py::gil_scoped_acquire locked;
    const py::object found = embed_(std::move(images));
    if (!THPVariable_Check(found.ptr())) {
      throw Error("embed gave " + std::string(py::str(py::type::of(found))) +
                  ", want a torch.Tensor [n, d]");
    }
    return found.cast<at::Tensor>();
  }

  const py::object& embed_;
  std::int64_t dim_ = 0;
};

/// How images are embedded, and where results go; the same for every protocol.
struct Embedding {
  py::object embed;
  std::string title;  ///< of what is evaluated, for reports
  at::Device device;
  std::int64_t batch_size;
  bool add_mirrored;
  std::optional<std::string> group;
  std::string folder;  ///< of the reports; may be empty
};

/// Ctrl-C ends long work.
void let_python_interrupt(std::int64_t /*done*/, std::int64_t /*total*/) {
  const py::gil_scoped_acquire locked;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

/// One evaluation. The lock is not held.
class Work {
 public:
  explicit Work(const Embedding& how)
      : how_(how),
        comm_(join(how.group, at::kCPU)),
        network_(std::make_shared<UsersNetwork>(how.embed, how.device)) {
    if (how.batch_size < 1)
      throw Error("batch_size is " + std::to_string(how.batch_size) + ", want 1 or more");
    if (!writes()) return;
    require_writable_folder(how.folder);
    fs::create_directories(how.folder);
  }

  Communicator& comm() { return *comm_; }
  Backbone& network() { return *network_; }

  EmbedOptions options() const {
    return {.batch_size = how_.batch_size, .add_mirrored = how_.add_mirrored};
  }

  /// Throws Error if an image gives no face, before time is spent on the others.
  void require_faces(const ImageSource& images) {
    const std::int64_t n = images.size();
    const auto broken = long_work(*comm_, [&] {
      return check_faces(images, n * comm_->rank() / comm_->world(),
                         n * (comm_->rank() + 1) / comm_->world(), at::get_num_threads(),
                         [](std::int64_t) {});
    });
    const auto mine = std::ssize(broken);
    at::Tensor of_all = at::full({1}, mine, at::kLong);
    comm_->all_reduce(of_all).wait();
    const auto count = of_all.item<std::int64_t>();
    if (count == 0) return;
    throw Error(
        grouped(count) + " of " + counted(n, "image") +
        " cannot be used, and the evaluation needs all" +
        (mine == 0 ? "" : ": " + images.name(broken.front().image) + ": " + broken.front().reason));
  }

  /// Embeds all images; returns with the features the lines about images that were left out.
  std::unique_ptr<Features> embed(const ImageSource& images, std::vector<std::string>& left_out) {
    return embed_images(
        *network_, images,
        [&](std::int64_t image, const std::string& reason) {
          left_out.push_back(images.name(image) + ": " + reason);
        },
        options(), *comm_);
  }

  /// `json`: not of the report, where a protocol has its own.
  void write(const std::string& name, const Report& report, const std::string& json = "") {
    if (!writes()) return;
    const fs::path folder = how_.folder;
    write_file(folder / (name + ".json"), json.empty() ? to_json(report) : json);
    write_file(folder / (name + ".html"), to_html(report));
  }
  bool writes() const { return !how_.folder.empty() && comm_->is_first(); }

 private:
  const Embedding& how_;
  std::unique_ptr<Communicator> comm_;
  std::shared_ptr<Backbone> network_;
};

/// Runs `body(work)` without the lock.
template <class Body>
auto evaluate(const Embedding& how, const Body& body) {
  const py::gil_scoped_release unlocked;
  return refusing([&] {
    Work work(how);
    return body(work);
  });
}

PairEmbeddings embed_set(Work& work, const VerificationSet& set, bool add_mirrored) {
  if (add_mirrored) return embed_pairs(work.network(), set, work.options(), work.comm());
  PairEmbeddings found;
  found.set = set.name();
  const auto images = images_of_pairs(set);
  std::vector<std::string> none;  // all have a face
  const auto features = work.embed(*images, none);
  found.dim = features->dim();
  found.originals.resize(static_cast<std::size_t>(features->count() * found.dim));
  for (std::int64_t i = 0; i < features->count(); ++i) {
    features->read_row(i, std::span(found.originals)
                              .subspan(static_cast<std::size_t>(i * found.dim),
                                       static_cast<std::size_t>(found.dim)));
  }
  found.mirrored = found.originals;  // an embedding and itself have its direction
  for (std::int64_t pair = 0; pair < set.pairs(); ++pair) found.same.push_back(set.same(pair));
  return found;
}

/// The results as JSON, and the pairs' scores [P] float64.
std::pair<std::string, at::Tensor> run_verification(const VerificationSet& set,
                                                    const Embedding& how) {
  return evaluate(how, [&](Work& work) {
    require_pairs(set);
    const auto images = images_of_pairs(set);
    work.require_faces(*images);
    const VerificationResult result = verify(embed_set(work, set, how.add_mirrored));
    const std::string json = to_json(std::span(&result, 1));
    if (work.writes()) {
      const ImageOfRow picture = pictures_of(*images);
      work.write(set.name(),
                 verification_report(std::span(&result, 1), std::span(&picture, 1), how.title),
                 json);
      const RocCurve curve{result.set, result.roc};
      write_file(fs::path(how.folder) / (set.name() + "-roc.svg"),
                 roc_svg(how.title, std::span(&curve, 1)));
    }
    at::Tensor scores = at::empty({std::ssize(result.scores)}, at::kDouble);
    std::ranges::copy(result.scores, scores.mutable_data_ptr<double>());
    return std::pair(json, scores);
  });
}

py::dict to_dict(const AcceptRate& rate) {
  py::dict one;
  one["far"] = rate.wanted_far;
  one["tar"] = rate.tar();
  one["measured_far"] = rate.far();
  one["score"] = rate.above;
  one["resolved"] = rate.resolved();
  return one;
}

py::list to_list(std::span<const NamedPair> pairs, const Features& firsts,
                 const Features& seconds) {
  py::list all;
  for (const NamedPair& pair : pairs)
    all.append(py::make_tuple(pair.score, firsts.name(pair.first), seconds.name(pair.second)));
  return all;
}

struct IjbFound {
  IjbSet set;
  IjbTemplates templates;
  IjbVerification verification;
  std::vector<IjbIdentification> identification;
};

py::dict to_dict(const IjbFound& found) {
  const IjbVerification& verified = found.verification;
  py::dict result;
  result["set"] = found.set.name;
  result["images"] = found.set.images.count();
  result["templates"] = std::ssize(found.templates.ids);
  result["genuine_pairs"] = verified.roc.genuine();
  result["impostor_pairs"] = verified.roc.impostors();
  py::dict corners, of_every_score;
  for (std::size_t i = 0; i < IjbVerification::kFars.size(); ++i) {
    const py::float_ far(IjbVerification::kFars.at(i));
    corners[far] = verified.roc.tar(verified.points.at(i));
    of_every_score[far] = verified.roc.tar(verified.of_every_score.at(i));
  }
  result["tar_at_far"] = corners;
  result["tar_at_far_of_every_score"] = of_every_score;
  py::list identification;
  for (const IjbIdentification& each : found.identification) {
    py::dict one, ranks, tpir;
    one["count"] = each.count;
    one["gallery"] = each.gallery;
    one["mated"] = each.mated;
    one["non_mated"] = each.non_mated;
    for (std::size_t i = 0; i < IjbIdentification::kRanks.size(); ++i)
      ranks[py::int_(IjbIdentification::kRanks.at(i))] = each.rank_rates.at(i);
    for (std::size_t i = 0; i < IjbIdentification::kFpirs.size(); ++i)
      tpir[py::float_(IjbIdentification::kFpirs.at(i))] = each.tpir.at(i);
    one["rank_rates"] = ranks;
    one["tpir_at_fpir"] = tpir;
    identification.append(one);
  }
  result["identification"] = identification;
  return result;
}

py::dict run_ijb(const std::string& folder, const Embedding& how, bool use_detector_score,
                 bool normalise_images) {
  const IjbOptions options{.use_detector_score = use_detector_score,
                           .normalise_images = normalise_images};
  const IjbFound found = evaluate(how, [&](Work& work) {
    IjbSet set = opening(folder, [&] { return open_ijb(folder); });
    if (!is_folder(set.images_folder)) {
      throw NotFound(set.images_folder.string() +
                     ": not found; this should be the folder of the images");
    }
    const auto images = aligned_images(set);
    work.require_faces(*images);
    std::vector<std::string> none;  // all have a face
    const auto features = work.embed(*images, none);
    IjbTemplates templates = pool_templates(set.images, *features, options);
    IjbVerification verification = verify_templates(templates, set.pairs);
    auto identification = identify_templates(templates, set);
    if (work.writes()) {
      work.write(set.name, ijb_report(set, templates, verification, identification, options,
                                      pictures_of(*images), how.title));
    }
    return IjbFound{std::move(set), std::move(templates), std::move(verification),
                    std::move(identification)};
  });
  return to_dict(found);
}

struct IfrtFound {
  std::unique_ptr<Features> features;
  IfrtResult result;
  std::vector<std::string> left_out;
};

py::dict to_dict(const IfrtFound& found) {
  py::dict groups;
  for (const GroupResult& group : found.result.groups) {
    py::dict one, rates;
    one["identities"] = group.identities;
    one["images"] = group.images;
    one["genuine_pairs"] = group.genuine;
    one["impostor_pairs"] = group.impostors;
    py::list points;
    for (const AcceptRate& rate : group.rates) {
      rates[py::float_(rate.wanted_far)] = rate.tar();
      points.append(to_dict(rate));
    }
    one["tar_at_far"] = rates;
    one["operating_points"] = points;
    groups[py::str(group.name)] = one;
  }
  py::dict result;
  result["groups"] = groups;
  result["single"] = found.result.single;
  result["zeros"] = found.result.zeros;
  result["hardest_genuine"] =
      to_list(found.result.hardest_genuine, *found.features, *found.features);
  result["hardest_impostors"] =
      to_list(found.result.hardest_impostors, *found.features, *found.features);
  result["left_out"] = found.left_out;
  return result;
}

py::dict run_ifrt(const std::string& path, const Embedding& how, const std::vector<double>& fars,
                  const std::optional<std::pair<std::string, std::string>>& between) {
  IfrtOptions options{.fars = fars, .progress = let_python_interrupt};
  if (between) std::tie(options.between_first, options.between_second) = *between;
  const IfrtFound found = evaluate(how, [&](Work& work) {
    for (const double far : fars) {
      if (!(far >= 0 && far <= 1))
        throw Error("a false accept rate is " + format("%g", far) + ", want one from 0 to 1");
    }
    const auto images =
        opening(path, [&] { return long_work(work.comm(), [&] { return open_images(path); }); });
    require_ifrt_names(names_of(*images), options);
    IfrtFound all;
    all.features = work.embed(*images, all.left_out);
    if (const std::string what = images->passed_over(); !what.empty())
      all.left_out.push_back("passed over: " + what);
    all.result = evaluate_ifrt(*all.features, options, work.comm());
    if (work.writes()) {
      work.write("all_pairs", ifrt_report(all.result, *all.features,
                                          pictures_by_name(*images, *all.features), how.title));
    }
    return all;
  });
  return to_dict(found);
}

struct MegafaceFound {
  std::unique_ptr<Features> probes, distractors;
  MegafaceResult result;
  std::vector<std::string> left_out;
};

py::dict to_dict(const MegafaceFound& found) {
  const MegafaceResult& of = found.result;
  py::dict result, rank_1;
  result["probes"] = of.probes;
  result["people"] = of.people;
  result["distractors"] = of.distractors;
  result["replaced"] = of.replaced;
  result["unmatched"] = of.unmatched;
  result["pairs"] = of.pairs;
  for (std::size_t i = 0; i < of.sizes.size(); ++i) rank_1[py::int_(of.sizes[i])] = of.rank_1[i];
  result["rank_1"] = of.rank_1.back();
  result["rank_1_by_distractors"] = rank_1;
  result["verification"] = to_dict(of.verification);
  result["hardest_genuine"] = to_list(of.hardest_genuine, *found.probes, *found.probes);
  result["hardest_impostors"] = to_list(of.hardest_impostors, *found.probes, *found.distractors);
  result["left_out"] = found.left_out;
  return result;
}

std::vector<std::string> read_list(const fs::path& list, const fs::path& folder, const char* name,
                                   int parts) {
  if (list.empty())
    throw NotFound(folder.string() + ": has no " + name + ", the list of its images");
  return read_megaface_list(list, parts);
}

py::dict run_megaface(const std::string& folder, const Embedding& how, double far) {
  const MegafaceFound found = evaluate(how, [&](Work& work) {
    if (!(far >= 0 && far <= 1)) throw Error("far is " + format("%g", far) + ", want 0 to 1");
    if (!is_there(folder)) throw NotFound(folder + ": not found");
    const MegafaceFolder files = megaface_folder(folder);
    MegafaceOptions options{.far = far, .progress = let_python_interrupt};
    if (!files.probe_noises.empty())
      options.bad_probes = read_megaface_noises(files.probe_noises, 1);
    if (!files.distractor_noises.empty())
      options.bad_distractors = read_megaface_noises(files.distractor_noises, 3);
    auto probe_names = read_list(files.probe_list, folder, "facescrub_lst", 2);
    auto distractor_names = read_list(files.distractor_list, folder, "megaface_lst", 3);
    require_images(files);
    require_probes(probe_names, options);
    const auto probes = list_images(files.probe_images, std::move(probe_names));
    work.require_faces(*probes);
    MegafaceFound all;
    all.probes = work.embed(*probes, all.left_out);
    const auto distractors = list_images(files.distractor_images, std::move(distractor_names));
    all.distractors = work.embed(*distractors, all.left_out);
    all.result = evaluate_megaface(*all.probes, *all.distractors, options, work.comm());
    if (work.writes()) {
      work.write("megaface",
                 megaface_report(all.result, *all.probes, *all.distractors,
                                 pictures_by_name(*probes, *all.probes),
                                 pictures_by_name(*distractors, *all.distractors), how.title));
    }
    return all;
  });
  return to_dict(found);
}

/// Faces [count, 112, 112, 3] uint8 of a set, from the first one on.
at::Tensor faces_of(const VerificationSet& set, std::int64_t first, std::int64_t count) {
  at::Tensor faces = at::empty({count, kFaceSize, kFaceSize, 3}, at::kByte);
  auto* const pixels = faces.mutable_data_ptr<std::uint8_t>();
  refusing([&] {
    at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        try {
          set.face(first + i, pixels + i * (kFaceSize * kFaceSize * 3));
        } catch (const Error& error) {
          throw DataError(set.name(), "image " + std::to_string(first + i), error.what());
        }
      }
    });
  });
  return faces;
}

}  // namespace

void bind_evaluation(py::module_& m) {
  py::class_<VerificationSet>(m, "VerificationSet")
      .def(py::init([](const std::string& path) {
             return refusing(
                 [&] { return opening(path, [&] { return VerificationSet::open(path); }); });
           }),
           py::arg("path"), kWithoutLock)
      .def("faces", &faces_of, py::arg("first"), py::arg("count"), kWithoutLock)
      .def("same",
           [](const VerificationSet& set) {
             at::Tensor same = at::empty({set.pairs()}, at::kBool);
             bool* const flags = same.mutable_data_ptr<bool>();
             for (std::int64_t pair = 0; pair < set.pairs(); ++pair) flags[pair] = set.same(pair);
             return same;
           })
      .def_property_readonly("pairs", &VerificationSet::pairs)
      .def_property_readonly("name", &VerificationSet::name);

  py::class_<Embedding>(m, "Embedding")
      .def(py::init([](py::object embed, const std::string& title, at::Device device,
                       std::int64_t batch_size, bool flip, const std::optional<std::string>& group,
                       const std::string& folder) {
             return Embedding{std::move(embed), title, device, batch_size, flip, group, folder};
           }),
           py::kw_only(), py::arg("embed"), py::arg("title"), py::arg("device"),
           py::arg("batch_size"), py::arg("flip"), py::arg("group"), py::arg("folder"));
  m.def("verification", &run_verification);
  m.def("ijb", &run_ijb);
  m.def("all_pairs", &run_ifrt);
  m.def("megaface", &run_megaface);
}

}  // namespace pfc::python
