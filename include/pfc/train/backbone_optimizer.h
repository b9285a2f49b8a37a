#pragma once

#include <ATen/core/Tensor.h>
#include <torch/ordered_dict.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/checksum.h"

namespace pfc {

/// Moves the parameters of a backbone along their gradients. (Class centres have an optimizer of
/// their own, CenterOptimizer.) A new optimizer derives from this class: it says by which names it
/// keeps tensors of a parameter, and how a step changes them. Saving and loading then follow.
class BackboneOptimizer {
 public:
  using Parameters =
      torch::OrderedDict<std::string, at::Tensor>;  ///< named_parameters() of a module

  virtual ~BackboneOptimizer() = default;
  BackboneOptimizer(const BackboneOptimizer&) = delete;
  BackboneOptimizer& operator=(const BackboneOptimizer&) = delete;

  /// Updates every parameter that has a gradient. If skip [1] float32, on the parameters' device,
  /// is not 0, nothing changes. `skipped` [1] float32 says how many steps were skipped so far, this
  /// one included; undefined: steps are never skipped. Does not wait for the device.
  void step(double lr, const at::Tensor& skip, const at::Tensor& skipped = {});

  /// Writes what it keeps of each parameter as `.safetensors`, under `<parameter>.<name>`. Returns
  /// the checksums of the file.
  Checksums save(const std::filesystem::path& path) const;
  /// Replaces what it keeps by that of a file. Throws DataError if the file has a tensor that this
  /// optimizer does not keep of these parameters, as another optimizer's file has, or one of
  /// another shape.
  void load(const std::filesystem::path& path);

 protected:
  /// What an optimizer keeps of each parameter.
  struct Kept {
    std::vector<std::string> tensors = {};  ///< names; float32 of the parameter's shape, 0 at first
    bool counts_steps = false;              ///< Step::number is wanted
  };
  /// `name` is that of the optimizer, for messages.
  BackboneOptimizer(std::string name, const Parameters& parameters, Kept kept);

  /// A step over all parameters that have a gradient: each list has one entry a parameter.
  struct Step {
    double lr = 0;
    at::Tensor skip = {};    ///< [1] float32: if it is not 0, nothing may change
    at::Tensor number = {};  ///< [] float32: this is which step, from 1; skipped ones do not count
    std::vector<at::Tensor> parameters = {}, gradients = {};
    std::vector<std::vector<at::Tensor>> kept = {};  ///< a list for each of Kept::tensors
  };
  /// Updates parameters and kept tensors in place, without waiting for the device.
  virtual void update(const Step& step) = 0;

 private:
  struct Parameter {
    std::string name;
    at::Tensor value;
    std::vector<at::Tensor> kept;  ///< undefined before the first step
    std::int64_t steps = 0;        ///< the skipped ones included
  };
  std::string name_;
  Kept kept_;
  std::vector<Parameter> parameters_;
};

struct BackboneOptimizerOptions {
  double momentum = 0;  ///< of sgd
  double weight_decay = 0;
};

/// The optimizer that the configuration calls `name`. Throws Error, with the names that there are,
/// for another one.
std::unique_ptr<BackboneOptimizer> make_backbone_optimizer(
    std::string_view name, const BackboneOptimizer::Parameters& parameters,
    const BackboneOptimizerOptions& options);

}  // namespace pfc
