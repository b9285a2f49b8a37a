#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "head/loss_formulas.h"
#include "head/test_device.h"
#include "pfc/head/partial_fc.h"

/// Steps of the streaming head beside its formula: autograd through an explicit matrix of all
/// logits, and the optimizer's step as torch.optim has it, in float64 on the CPU.
namespace pfc {

/// So few samples and classes that all logits fit into a matrix.
struct HeadCase {
  std::string name;
  PartialFcOptions head = {};
  std::int64_t classes = 90;
  StepwiseNumber sample_rate = 0.4;
  std::vector<std::int64_t> labels = {3, 17, 17, 40, 89, 0, 5};
  std::vector<float> valid = {};  ///< empty: all samples count
  std::int64_t part = 0;          ///< samples of a micro-batch; 0: the whole batch is one
  int threads = 2;                ///< of a CPU
  std::int64_t steps = 4;
  double lr = 0.1;  ///< of the first step
  /// Makes the embeddings [n, d], not of unit length, and sets the centres they start beside.
  std::function<at::Tensor(const HeadCase&, const at::Tensor& weights)> start = {};

  std::int64_t samples() const { return std::ssize(labels); }
  std::int64_t dim() const { return head.table.dim; }
};

/// 24 numbers a centre, tiles of 16, a scale of 16: logits overlap, so that no gradient is lost in
/// saturation.
HeadCase usual_case(std::string name);

/// HeadCase::start if none is given: centres larger than a table's, so that steps leave them where
/// the loss is not saturated.
at::Tensor random_start(const HeadCase& c, const at::Tensor& weights);

/// `start` where the samples are `off` from sign · their own centre.
at::Tensor start_near_own_centers(const HeadCase& c, const at::Tensor& weights, double sign,
                                  double off);

SampledClasses draw(const HeadCase& c, std::int64_t step);
at::Tensor unit_rows(const at::Tensor& x);

/// What steps change, on the CPU. `squares` and `updates` are AdamW's.
struct HeadState {
  at::Tensor weights, momentum, squares, updates;
  reference::Numbers moving = {};
};

/// What a step gives, and what it leaves.
struct HeadResult {
  double loss = 0;
  at::Tensor d_embeddings;  ///< [n, d] as a backbone gets it
  HeadState after;
};

HeadResult by_formula(const HeadCase& c, const at::Tensor& embeddings, const HeadState& before,
                      std::int64_t step, double lr);

/// The head on a device, at the start of a case.
class HeadOnDevice {
 public:
  HeadOnDevice(const TestDevice& device, const HeadCase& c);

  const at::Tensor& embeddings() const { return embeddings_; }  ///< on the CPU
  PartialFc& head() { return head_; }
  /// Waits for all steps, and takes every row through those that it missed.
  HeadState state();
  /// Sets the centres, their momentum and the loss's numbers.
  void set(const HeadState& state);

  /// The loss, and the gradient by the embeddings.
  HeadResult step(std::int64_t step, double lr, bool skip = false);

 private:
  HeadCase c_;
  at::Device device_;
  PartialFc head_;
  at::Tensor embeddings_;
};

/// Compares the largest difference with the largest number.
void expect_close(const at::Tensor& found, const at::Tensor& want, const std::string& what,
                  double tolerance = 1e-5);

/// The case's steps, of the head and of the formula, side by side.
void expect_equals_the_formula(const TestDevice& device, const HeadCase& c);

/// ‖found − wanted‖ / ‖wanted‖.
double error_of(const at::Tensor& found, const at::Tensor& want);

/// The errors of a step of the case whose samples are learnt: all of them lie near their own
/// centres.
struct LearntErrors {
  double loss, d_embeddings;
  double own_momentum, others_momentum;  ///< of centres with a sample, and of the others
};
LearntErrors errors_of_learnt_samples(const TestDevice& device, HeadCase c);

}  // namespace pfc
