#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/utils/pybind.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "data/read_ahead.h"
#include "pfc/comm/communicator.h"
#include "pfc/comm/placement.h"
#include "pfc/data/dataset.h"
#include "pfc/data/loader.h"
#include "pfc/plan/step_plan.h"
#include "pfc/train/config.h"
#include "pfc/train/manifest.h"

namespace pfc::python {

/// What a batch's images become.
struct BatchForm {
  bool normalised = true;        ///< float32 [b, 3, 112, 112], or uint8 [b, 112, 112, 3]
  bool is_channels_last = true;  ///< how the first lie in memory
  bool is_pinned = false;        ///< on the CPU
  at::Device device = at::kCPU;
};

/// A training set as `pfc train` loads it: the batches of one rank, in the order of its plan.
class BatchStream {
 public:
  /// Opens the set on all ranks, as open_training_set does. `config` has what is to be loaded; the
  /// rest of it is not used. With a process group its ranks are the loader's; otherwise they are as
  /// given, and do not meet. Throws Error.
  BatchStream(Config config, const BatchForm& form, const std::optional<std::string>& group,
              int rank, int world);
  ~BatchStream();

  /// The images of the next step, their labels [b] int64, and a line for each image that did not
  /// decode. Its place has another image of the batch.
  std::tuple<at::Tensor, at::Tensor, std::vector<std::string>> next();
  /// Steps whose batches were returned.
  std::int64_t step() const { return step_; }
  /// Goes on after `step` steps. If the manifest excludes other images than this stream, the set is
  /// opened again. Throws Error if it is not the one that the manifest describes.
  void resume(std::int64_t step, const Manifest& manifest);
  /// Stops the threads; batches that are in progress are thrown away.
  void close();

  const Dataset& dataset() const { return *dataset_; }
  int rank() const { return rank_; }
  int world() const { return world_; }

 private:
  void require_this_process() const;
  std::unique_ptr<Dataset> open(const std::optional<Manifest>& resumed);
  void start();
  at::Tensor in_form(Batch& batch) const;
  at::Tensor on_device(const at::Tensor& tensor) const;

  Config config_;
  BatchForm form_;
  std::unique_ptr<Communicator> comm_;
  int rank_, world_;
  Placement place_;
  pid_t process_ = ::getpid();

  std::mutex mutex_;  ///< of two threads of the user
  bool closed_ = false;
  std::int64_t step_ = 0;
  std::unique_ptr<Dataset> dataset_;
  std::optional<StepPlanner> planner_;
  std::optional<ReadAhead> read_ahead_;
  std::unique_ptr<Loader> loader_;  ///< from the first batch on
};

/// Binds the stream, and sets whose images are read one by one.
void bind_data(py::module_& module);

}  // namespace pfc::python
