#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/head/partial_fc.h"
#include "pfc/plan/sampler.h"

namespace pfc::python {

struct TrainingHeadOptions {
  PartialFcOptions head;
  ClassSamplerOptions sampler;
  std::int64_t classes = 0;
  /// What the backbone's gradients become over ranks: their mean (DDP, FSDP), or their sum. The
  /// gradient by this rank's embeddings is multiplied by the number of ranks for the first.
  bool gradients_are_averaged = true;
  std::int64_t fingerprint = 0;  ///< of all settings that must be the same on every rank
};

/// A head in a training loop that somebody else has written: forward, backward and step come from
/// outside, one after another. Each rank calls `forward` and the backward pass of its loss with
/// batches of equal size.
///
/// Pass 2 of the head waits until it is known what comes after a backward pass: the optimizer's
/// step, which updates the centres, or another forward, for which the gradients are accumulated.
///
/// A mark stands where the gradient of the centres would be, so that what looks at gradients works:
/// a sparse tensor with one value. It is 1 after a backward pass, not finite after an overflow, and
/// missing when the gradient was thrown away (zero_grad). The gradient is multiplied by it: a
/// GradScaler divides it by the loss's scale.
class TrainingHead final : public torch::CustomClassHolder {
 public:
  /// Throws Error if an option makes no sense.
  TrainingHead(const TrainingHeadOptions& options, std::unique_ptr<Communicator> comm);

  /// embeddings [b, d] of any float type, labels [b] -> the mean loss over all ranks' samples, a
  /// scalar float32. Throws std::invalid_argument, on every rank, if a rank's arguments are wrong.
  at::Tensor forward(const at::Tensor& embeddings, const at::Tensor& labels);

  /// Whether there is a gradient for a step.
  bool has_gradient() const { return (waits_for_step_ || accumulated_) && has_mark(); }
  /// Updates the centres; nothing if a gradient is not finite or `found_inf` is not 0 on any rank.
  /// The gradients are divided by `grad_scale` if it is given. Throws Error without a gradient.
  void update(double lr, const CenterOptimizer& optimizer, const at::Tensor& grad_scale,
              const at::Tensor& found_inf);

  /// The tensor of which the mark is the gradient: the centres [rows, d]. It must share the memory
  /// of the table's part.
  void set_weight(const at::Tensor& weight) { weight_ = weight; }
  void set_optimizer(const CenterOptimizer& optimizer) { head_.set_optimizer(optimizer); }
  /// CenterTable::catch_up. Throws Error between a forward pass and its step if the table of a GPU
  /// lies in host memory.
  void catch_up();

  /// Steps that were made or skipped: the number that classes are drawn by.
  std::int64_t step() const { return step_; }
  /// Goes on after `step` steps, `updates` of which changed centres. The table's parts are those of
  /// that time, with nothing missed.
  void resume(std::int64_t step, std::int64_t updates);

  PartialFc& head() { return head_; }
  Communicator& comm() { return *comm_; }
  const ClassSampler& sampler() const { return sampler_; }
  /// [S] int64: this rank's rows in the last forward.
  at::Tensor sampled_rows() const;

 private:
  friend struct HeadLoss;

  /// What a backward pass needs of the forward pass before it.
  struct Forward {
    std::int64_t number;
    at::ScalarType type;       ///< of the embeddings
    at::Tensor unit, lengths;  ///< [b, d], [b, 1] of this rank
    at::Tensor mark;           ///< [1]: 1, or NaN if the loss is not finite
    Pending d_unit;            ///< [b, d]
    std::optional<Pending> d_lengths = std::nullopt;
  };

  void require_this_process() const;
  std::string wrong_with(const at::Tensor& embeddings, const at::Tensor& labels) const;
  /// All ranks' labels; whether any rank wants a gradient.
  std::pair<std::vector<GlobalClass>, bool> agree(const at::Tensor& embeddings,
                                                  const at::Tensor& labels, bool wants_gradient);
  /// Throws std::invalid_argument for a label that is no class.
  std::vector<GlobalClass> classes_of(const at::Tensor& labels) const;
  at::Tensor run(const at::Tensor& embeddings, const at::Tensor& labels, bool wants_gradient);
  void begin(std::vector<GlobalClass> labels, bool trains);
  at::Tensor backward(std::int64_t number, const at::Tensor& d_loss);
  const at::Tensor& mark() const { return weight_.grad(); }
  /// Not after zero_grad, which removes it or makes it empty.
  bool has_mark() const { return mark().defined() && mark()._nnz() == 1; }
  void set_mark(const at::Tensor& value);
  void forget_gradient();

  TrainingHeadOptions options_;
  std::unique_ptr<Communicator> comm_;
  ClassSampler sampler_;
  PartialFc head_;
  at::Tensor weight_;
  at::Tensor mark_place_;  ///< [2, 1] of the mark's value in the sparse tensor
  at::Tensor one_;         ///< [1], on the head's device
  pid_t process_ = ::getpid();

  std::int64_t step_ = 0;
  std::int64_t most_labels_ = 0;     ///< of a rank, so that one collective gathers them
  std::vector<GlobalClass> labels_;  ///< of the step so far
  SampledClasses classes_;
  std::int64_t forwards_ = 0;
  std::optional<Forward> last_;  ///< until its backward pass
  bool waits_for_step_ = false;  ///< the last forward had its backward pass, and pass 2 is to come
  bool accumulated_ = false;     ///< the head holds gradients of earlier parts of the step
};

}  // namespace pfc::python
