#include <torch/csrc/utils/pybind.h>
#include <torch/csrc/distributed/c10d/GroupRegistry.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "native/data.h"
#include "native/errors.h"
#include "native/evaluation.h"
#include "native/join.h"
#include "native/losses.h"
#include "native/training_head.h"
#include "pfc/comm/process_group_communicator.h"
#include "pfc/head/center_file.h"

/// partial_fc._native: what the package's Python files are made of. Users see those.
namespace pfc::python {

std::unique_ptr<Communicator> join(const std::optional<std::string>& group, at::Device device) {
  if (!group) return make_self_communicator(device);
  return make_process_group_communicator(c10d::resolve_process_group(*group), device);
}

namespace {

constexpr py::call_guard<py::gil_scoped_release> kWithoutLock;

template <HasNames E>
E named(const std::string& what, const std::string& name) {
  if (const std::optional<E> found = value_named<E>(name)) return *found;
  std::string all;
  for (const std::string_view each : names_of<E>())
    all += (all.empty() ? "" : ", ") + std::string(each);
  throw std::invalid_argument(what + " is '" + name + "', want one of " + all);
}

CenterOptimizer make_optimizer(const std::string& kind, const std::string& update, double momentum,
                               double weight_decay, double beta1, double beta2, double epsilon) {
  return {.kind = named<CenterOptimizer::Kind>("kind", kind),
          .momentum = momentum,
          .weight_decay = weight_decay,
          .update = named<CenterOptimizer::Update>("update", update),
          .beta1 = beta1,
          .beta2 = beta2,
          .epsilon = epsilon};
}

/// A rate, or (step, rate) for each step from which on another one holds.
using SampleRate = std::variant<double, std::vector<std::pair<std::int64_t, double>>>;

StepwiseNumber by_step(const SampleRate& given) {
  if (const auto* const rate = std::get_if<double>(&given)) return *rate;
  std::vector<StepwiseNumber::Piece> pieces;
  for (const auto& [from, rate] : std::get<1>(given)) pieces.push_back({from, rate});
  if (!StepwiseNumber::are_in_order(pieces))
    throw std::invalid_argument("the steps of sample_rate do not begin with 0, or do not ascend");
  return StepwiseNumber(std::move(pieces));
}

c10::intrusive_ptr<TrainingHead> make_head(
    std::int64_t embedding_size, std::int64_t num_classes, const std::string& loss_name,
    const py::dict& loss, double scale, const SampleRate& sample_rate, const std::string& sampling,
    const CenterOptimizer& optimizer, const std::string& center_type, const std::string& state_type,
    std::uint64_t seed, double interclass_filter, const std::optional<std::string>& gemm,
    std::int64_t workspace_bytes, bool in_host_memory, const std::optional<std::string>& group,
    at::Device device, bool gradients_are_averaged, std::int64_t fingerprint) {
  if (num_classes < 1)
    throw std::invalid_argument("num_classes is " + std::to_string(num_classes) +
                                ", want at least 1");
  TrainingHeadOptions options;
  options.classes = num_classes;
  options.sampler = {.sample_rate = by_step(sample_rate),
                     .sampling = named<Sampling>("sampling", sampling),
                     .seed = seed};
  options.head = {.table = {.dim = embedding_size,
                            .optimizer = optimizer,
                            .weights = named<NumberType>("center_type", center_type),
                            .state = named<NumberType>("state_type", state_type),
                            .seed = seed,
                            .device = device,
                            .in_host_memory = in_host_memory},
                  .loss = make_loss(loss_name, loss),
                  .scale = scale,
                  .interclass_filter = interclass_filter,
                  .workspace_bytes = workspace_bytes};
  if (gemm) options.head.gemm = named<GemmInput>("gemm", *gemm);
  options.gradients_are_averaged = gradients_are_averaged;
  options.fingerprint = fingerprint;
  const py::gil_scoped_release unlocked;
  return refusing([&] { return c10::make_intrusive<TrainingHead>(options, join(group, device)); });
}

/// A file of a checkpoint, with the checksums that its manifest has.
using SavedFile = std::tuple<std::string, std::uint64_t, std::vector<std::uint64_t>>;

void load_checkpoint(TrainingHead& head, std::int64_t step, const std::vector<SavedFile>& files) {
  refusing([&] {
    load_centers(head.head().settled_table(), step, static_cast<int>(files.size()), [&](int rank) {
      const auto& [path, bytes, blocks] = files[static_cast<std::size_t>(rank)];
      return CheckedFile(path, Checksums{bytes, blocks});
    });
  });
  head.catch_up();
  head.resume(step, head.head().settled_table().steps());
}

void translate_errors() {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const c10::Error& error) {
      py::set_error(PyExc_RuntimeError, error.what_without_backtrace());
    } catch (const NotFound& error) {
      py::set_error(PyExc_FileNotFoundError, error.what());
    } catch (const SystemRefused& error) {
      py::set_error(PyExc_OSError, error.what());
    }
  });
}

}  // namespace

PYBIND11_MODULE(_native, m) {
  translate_errors();
  m.def("losses", &list_losses);
  bind_data(m);
  bind_evaluation(m);

  py::class_<CenterOptimizer>(m, "CenterOptimizer")
      .def(py::init(&make_optimizer), py::arg("kind"), py::arg("update"), py::arg("momentum") = 0.9,
           py::arg("weight_decay") = 5e-4, py::arg("beta1") = 0.9, py::arg("beta2") = 0.999,
           py::arg("epsilon") = 1e-8);

  py::class_<TrainingHead, c10::intrusive_ptr<TrainingHead>>(m, "TrainingHead")
      .def(py::init(&make_head), py::kw_only(), py::arg("embedding_size"), py::arg("num_classes"),
           py::arg("loss_name"), py::arg("loss"), py::arg("scale"), py::arg("sample_rate"),
           py::arg("sampling"), py::arg("optimizer"), py::arg("center_type"), py::arg("state_type"),
           py::arg("seed"), py::arg("interclass_filter"), py::arg("gemm"),
           py::arg("workspace_bytes"), py::arg("in_host_memory"), py::arg("group"),
           py::arg("device"), py::arg("gradients_are_averaged"), py::arg("fingerprint"))
      .def("forward", &TrainingHead::forward, kWithoutLock)
      .def(
          "update",
          [](TrainingHead& head, double lr, const CenterOptimizer& optimizer,
             const std::optional<at::Tensor>& grad_scale,
             const std::optional<at::Tensor>& found_inf) {
            head.update(lr, optimizer, grad_scale.value_or(at::Tensor()),
                        found_inf.value_or(at::Tensor()));
          },
          py::arg("lr"), py::arg("optimizer"), py::arg("grad_scale") = py::none(),
          py::arg("found_inf") = py::none(), kWithoutLock)
      .def("has_gradient", &TrainingHead::has_gradient)
      .def("set_weight", &TrainingHead::set_weight)
      .def("set_optimizer",
           [](TrainingHead& head, const CenterOptimizer& optimizer) {
             const py::gil_scoped_release unlocked;
             refusing([&] { head.set_optimizer(optimizer); });
           })
      .def("catch_up", &TrainingHead::catch_up, kWithoutLock)
      .def("parts", [](TrainingHead& head) { return head.head().settled_table().parts(); })
      .def("moving_numbers", [](TrainingHead& head) { return head.head().moving_numbers(); })
      .def("sampled_rows", &TrainingHead::sampled_rows)
      .def("resume", &TrainingHead::resume, py::arg("step"), py::arg("updates"), kWithoutLock)
      .def("load_checkpoint", &load_checkpoint, py::arg("step"), py::arg("files"), kWithoutLock)
      .def_property_readonly("step", &TrainingHead::step)
      .def_property_readonly("updates",
                             [](TrainingHead& head) { return head.head().settled_table().steps(); })
      .def_property_readonly("rank", [](TrainingHead& head) { return head.comm().rank(); })
      .def_property_readonly("world_size", [](TrainingHead& head) { return head.comm().world(); })
      .def_property_readonly(
          "class_start", [](const TrainingHead& head) { return head.sampler().shard().begin().v; })
      .def_property_readonly(
          "num_local", [](const TrainingHead& head) { return head.sampler().shard().rows(); });
}

}  // namespace pfc::python
