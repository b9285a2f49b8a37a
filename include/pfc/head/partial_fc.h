#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "pfc/comm/communicator.h"
#include "pfc/head/center_table.h"
#include "pfc/head/gemm_input.h"
#include "pfc/head/loss.h"
#include "pfc/plan/sampler.h"

namespace pfc {

struct PartialFcOptions {
  CenterTableOptions table = {};
  Loss loss = CosFace();
  double scale = 64;  ///< s
  /// Negatives with a larger cosine are left out of the softmax, for noisy sets; 0: off.
  double interclass_filter = 0;
  /// The cosine above which the filter leaves a negative out.
  float filter() const {
    return interclass_filter > 0 ? static_cast<float>(interclass_filter) : kNoFilter;
  }
  /// Class centres that a thread, or a GPU, processes at a time. 0: chosen from a thread's cache,
  /// or 16,384 on a GPU, fewer for more than 1,024 samples.
  std::int64_t tile_rows = 0;
  /// Memory to keep probabilities between the two passes: in float32 if that fits, otherwise in
  /// bfloat16, otherwise they are computed again. A GPU keeps them in the type of its GEMMs.
  std::int64_t workspace_bytes = std::int64_t{512} << 20;
  /// Not given: bfloat16, or float16 if the GPU has no bfloat16.
  std::optional<GemmInput> gemm = {};
};

/// What the head gets for a micro-batch's samples; the same on every rank.
struct Embeddings {
  at::Tensor unit;  ///< [n, d] float32, rows of unit length
  at::Tensor lengths =
      {};  ///< [n] before normalisation; needed if the loss uses them (uses_length)
};

/// The margin softmax over the sampled class centres of all ranks, exact, in two streaming passes
/// (Partial FC; An et al., arXiv 2010.05222; online softmax: Milakov and Gimelshein, arXiv
/// 1805.02867). For B samples, S sampled rows and dimension d, a step costs 6·B·S·d floating-point
/// operations (8·B·S·d if the probabilities do not fit into the workspace and are computed twice).
/// It never holds the logits' gradient, the centres' gradient, or any other tensor of the size of
/// the table.
///
///     head.begin(classes, valid);
///     head.forward({unit}, comm);  // pass 1
///     head.exchange(comm);         // 24 bytes a sample; now the loss is known
///     Pending dx = comm.reduce_scatter(head.d_embeddings());
///     head.update(lr, dx);         // pass 2, while dx travels
///
/// A step may also go through its samples in several micro-batches. Each of them but the last ends
/// in `accumulate`. The head then keeps the centres' gradient, S·d values, and updates once.
///
/// The loss is the mean of −log softmax at a sample's own class, over the valid samples of the
/// global batch.
///
/// The head works on CenterTableOptions::device. On a GPU it takes and returns tensors of that GPU,
/// puts all work on the current stream, and waits for it only in `loss`.
class PartialFc {
 public:
  /// Throws Error if an option is out of range or the table cannot be reserved.
  PartialFc(const PartialFcOptions& options, const ClassShard& shard);
  ~PartialFc();

  /// Begins a step. classes: this rank's draw for the B samples of the global batch. valid [B]
  /// float32, the same on every rank: 1, or 0 for a sample with no weight.
  void begin(const SampledClasses& classes, const at::Tensor& valid);

  /// Goes on with the step for samples that were not known when it began. Call it after
  /// `accumulate`. classes: the same step's draw for all of its samples so far. valid: as for
  /// `begin`, and 0 for the samples of earlier parts. The loss begins anew: it is the mean over the
  /// new samples. A GPU's table in host memory cannot do this (Error).
  void extend(const SampledClasses& classes, const at::Tensor& valid);

  /// Tells what the next step will use; call it when the current step is over. If the table lies in
  /// host memory, the rows are copied to the GPU meanwhile; otherwise it does nothing.
  void prefetch(const SampledClasses& next);

  /// Pass 1: logits tile by tile, with a running maximum and sum for every sample. The embeddings
  /// are those of the step's samples `first` to `first` + n − 1, a micro-batch. `comm` is used by
  /// losses whose ranks must know all samples' own cosines first (CurricularFace).
  void forward(const Embeddings& embeddings, Communicator& comm, std::int64_t first = 0);

  /// Joins the ranks' maxima, sums and own logits in one collective. Afterwards `loss` and
  /// `d_embeddings` are valid.
  void exchange(Communicator& comm);

  /// The contribution of the step's samples so far to the global batch's mean loss; not finite if
  /// any input was not finite. Waits for a GPU.
  double loss() const;
  /// The same as a float64 scalar on the head's device. It holds the step's loss until the next
  /// `begin`.
  at::Tensor loss_tensor() const;
  /// [n, d]: this rank's part of the loss's gradient by the unit embeddings; the gradient is the
  /// sum over ranks. It is right up to a multiple of the embedding, which the backward pass of the
  /// normalisation removes.
  const at::Tensor& d_embeddings() const;
  /// [n] float32: the same by the lengths; undefined if the loss has no gradient by them.
  const at::Tensor& d_lengths() const;
  /// [k] float64, in place: the numbers that the loss keeps from step to step (see
  /// losses/contract.h), the same on every rank. Empty for most losses. A resumed run needs them.
  at::Tensor moving_numbers() const;

  /// Multiplies the centres' gradients by factor [1] float32, for a loss that was multiplied by it
  /// after `exchange`: those of the current micro-batch, or those that were accumulated before.
  enum class GradientsOf { kMicroBatch, kEarlierOnes };
  void weigh(const at::Tensor& factor, GradientsOf what = GradientsOf::kMicroBatch);

  /// Pass 2: takes the gradients of a tile's centres, with those that were accumulated, through the
  /// normalisation straight into the optimizer's step. `in_flight` is polled between tiles. If the
  /// loss is not finite, nothing is updated. If `skip` [1] float32 is given and not 0, nothing is
  /// updated either; the caller sets it, for example after an overflow.
  void update(double lr, Pending& in_flight, const at::Tensor& skip = {});
  /// The same with nothing in flight.
  void update(double lr, const at::Tensor& skip);
  /// Pass 2 of a micro-batch that is not the last of the step: adds up the gradients.
  void accumulate(Pending& in_flight);

  /// The optimizer of the updates to come, also of the current step's. What it keeps beside the
  /// centres begins with zeros if the optimizer before kept something else. Under
  /// CenterOptimizer::Update::kDenseEquivalent rows first go through the steps that they missed, if
  /// momentum or decay change; that is a pass over the table. Where a GPU's table lies in host
  /// memory, a change of either kind is only possible between steps. Throws Error if the optimizer
  /// cannot do its update.
  void set_optimizer(const CenterOptimizer& optimizer);

  /// How many class centres a thread, or a GPU, processes at a time for this number of samples.
  static std::int64_t tile_rows(const PartialFcOptions& options, std::int64_t samples);
  /// The bytes kept between the passes for these numbers of sampled rows and samples.
  static std::int64_t kept_bytes(const PartialFcOptions& options, std::int64_t rows,
                                 std::int64_t samples);

  /// The table with the updates of every step. Where a GPU's table lies in host memory, this waits
  /// for them.
  CenterTable& settled_table();
  /// CenterTable::catch_up, also between a forward pass and its update; but not there where a GPU's
  /// table lies in host memory.
  void catch_up();
  at::Device device() const { return options_.table.device; }
  const PartialFcOptions& options() const { return options_; }

  /// How probabilities are kept between the passes.
  enum class Keep { kFloat32, kBFloat16, kNothing };
  static Keep keep(const PartialFcOptions& options, std::int64_t rows, std::int64_t samples);

 private:
  PartialFcOptions options_;
  CenterTable table_;
  std::unique_ptr<class HeadSteps> steps_;
  std::int64_t batch_ = 0;  ///< B of the current step
};

}  // namespace pfc
