#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "pfc/comm/communicator.h"
#include "pfc/head/center_table.h"
#include "pfc/head/margin.h"
#include "pfc/head/sampler.h"

namespace pfc {

struct PartialFcOptions {
  CenterTableOptions table = {};
  Margin margin = Margin::cosface(0.4);
  double scale = 64;  ///< s
  /// Negatives with a cosine above it leave the softmax, for noisy sets; 0: off.
  double interclass_filter = 0;
  std::int64_t tile_rows =
      0;  ///< class centres that a thread works on at a time; 0: from its cache
  /// For keeping probabilities between the two passes: in float32 where that fits, else in
  /// bfloat16, else they are computed again.
  std::int64_t workspace_bytes = std::int64_t{512} << 20;
};

/// The margin softmax over the sampled class centres of all ranks, exact, in two streaming passes
/// (Partial FC; An et al., arXiv 2010.05222; online softmax: Milakov and Gimelshein, arXiv
/// 1805.02867). For B samples, S sampled rows and dimension d a step costs 6·B·S·d floating-point
/// operations (8·B·S·d where the probabilities do not fit the workspace and are computed twice) and
/// never holds the logits' gradient, the centres' gradient, or anything of the size of the table
/// but the table.
///
///     head.begin(classes, valid);
///     head.forward(embeddings);   // pass 1
///     head.exchange(comm);        // 12 bytes a sample; now the loss is known
///     Pending dx = comm.reduce_scatter(head.d_embeddings());
///     head.update(lr, dx);        // pass 2, while dx travels
///
/// A step may also go through its samples in several micro-batches, each but the last ending in
/// `accumulate`; it then keeps the centres' gradient, S·d values, and updates once.
///
/// The loss is the mean over the valid samples of the global batch of −log softmax at the sample's
/// own class.
class PartialFc {
 public:
  /// Throws Error where an option is outside its range or the table cannot be reserved.
  PartialFc(const PartialFcOptions& options, const ClassShard& shard);
  ~PartialFc();

  /// Begins a step. classes: this rank's draw for the B samples of the global batch; valid [B]
  /// float32, the same on every rank, 1 or 0 (a sample that weighs nothing).
  void begin(const SampledClasses& classes, const at::Tensor& valid);

  /// Pass 1: logits tile by tile, with a running maximum and sum for every sample.
  /// embeddings [n, d] float32, rows of unit length, the same on every rank: those of the step's
  /// samples `first` to `first` + n − 1, a micro-batch.
  void forward(const at::Tensor& embeddings, std::int64_t first = 0);

  /// Joins the ranks' maxima, sums and target logits in one collective. Afterwards `loss` and
  /// `d_embeddings` hold.
  void exchange(Communicator& comm);

  /// The part of the global batch's mean loss that the step's samples so far make; not finite where
  /// anything that went into it was not.
  double loss() const { return loss_; }
  /// [n, d]: this rank's part of the loss's gradient by the unit embeddings; the gradient is the
  /// sum over ranks. It holds up to a multiple of the embedding itself, which the backward of the
  /// normalisation takes away.
  const at::Tensor& d_embeddings() const { return d_embeddings_; }

  /// Pass 2: the gradients of a tile's centres, with what was accumulated of them, through their
  /// normalisation, straight into the optimizer's step. Does nothing where the loss is not finite.
  /// `in_flight` is polled between tiles.
  void update(double lr, Pending& in_flight);
  /// Pass 2 of a micro-batch that is not the step's last: the gradients are added up.
  void accumulate(Pending& in_flight);

  /// Class centres that a thread works on at a time.
  static std::int64_t tile_rows(const PartialFcOptions& options);
  /// What is kept between the passes, in bytes, for so many sampled rows and samples.
  static std::int64_t kept_bytes(const PartialFcOptions& options, std::int64_t rows,
                                 std::int64_t samples);

  CenterTable& table() { return table_; }
  const CenterTable& table() const { return table_; }
  const PartialFcOptions& options() const { return options_; }

 private:
  enum class Keep { kFloat32, kBFloat16, kNothing };
  struct Worker;
  struct Tile {
    std::int64_t number, begin, end;  ///< rows [begin, end) of the sampled ones
    /// Of the owned samples, those whose class is among these rows.
    std::int64_t first_owned = 0, last_owned = 0;
    std::int64_t rows() const { return end - begin; }
  };

  static Keep keep(const PartialFcOptions& options, std::int64_t rows, std::int64_t samples);
  void reserve();
  void prepare_own_classes();
  /// Calls body(worker, tile) for every tile, on all threads: each has a consecutive share of the
  /// sampled rows, so the result depends on their number but not on their speed.
  template <typename Body>
  void for_each_tile(const Body& body);
  /// Calls body(tile, d_unit [rows, d]) with every tile's gradient by its unit centres.
  template <typename Body>
  void for_each_gradient(Pending& in_flight, const Body& body);
  std::span<const LocalRow> rows(const Tile& tile) const;
  at::Tensor cosines(Worker& worker, const Tile& tile);
  at::Tensor probabilities(Worker& worker, const Tile& tile);
  void weigh_embeddings(Worker& worker, const at::Tensor& shift) const;

  PartialFcOptions options_;
  CenterTable table_;
  std::int64_t tile_rows_;

  // Of the step under way: S sampled rows.
  SampledClasses classes_;
  at::Tensor step_valid_;     ///< [B] of the whole step
  at::Tensor d_unit_so_far_;  ///< [S, d] what `accumulate` added up
  bool accumulating_ = false;
  double loss_ = 0;

  // Of the micro-batch under way: N samples, T tiles, n samples whose own class this rank owns.
  std::span<const std::int32_t> targets_;  ///< [N] of classes_.targets
  at::Tensor embeddings_;                  ///< [N, d]
  at::Tensor valid_;                       ///< [N]
  at::Tensor d_embeddings_;                ///< [N, d]
  at::Tensor log_sum_;                     ///< [N] log of the softmax's denominator over all ranks
  at::Tensor weight_;                      ///< [N] s·valid / number of the step's valid samples

  // Of the n owned samples, in the order of their classes. What the margin adds to their gradients
  // is kept apart, in directions orthogonal to the unit vectors: near cosines of ±1 an angular
  // margin's slope is large, and what is left of slope·centre after the normalisation's backward
  // would drown in rounding.
  at::Tensor own_samples_;   ///< [n] i64, places in the micro-batch
  at::Tensor own_rows_;      ///< [n] i64, places in the sampled rows
  at::Tensor own_phi_;       ///< [n] φ(cos)
  at::Tensor own_slope_;     ///< [n] φ′(cos)
  at::Tensor d_own_sample_;  ///< [n, d] the cosine's gradient by the sample, ŵ − cos·x̂
  at::Tensor d_own_center_;  ///< [n, d] the same by the class centre; after the exchange the loss's

  // Kept from step to step.
  Keep keep_ = Keep::kNothing;
  std::vector<Worker> workers_;
  std::int64_t most_tiles_ = 0;  ///< of a worker
  at::Tensor inverse_norm_;      ///< [S]
  at::Tensor kept_;              ///< [S, N] exp(logit − maximum of its worker by then), or [0, N]
  at::Tensor kept_maximum_;      ///< [T, N] that maximum
};

}  // namespace pfc
