#pragma once

#include <cstdint>

#include "head/kernels/formulas.h"
#include "pfc/base/random.h"
#include "pfc/head/number_type.h"

struct CUstream_st;

/// What surrounds the head's GEMMs, on a GPU: plain pointers to its memory (or to pinned host
/// memory), work that is put on a stream. `formulas.h` says what each computes. Nothing here waits.
///
/// A tile of logits is [batch, classes]: a sample is a row, so that its softmax is one block's work.
/// Sizes of embeddings and of tiles are multiples of kWidth.
namespace pfc::kernels::cuda {

inline constexpr std::int64_t kWidth = 8;

using Stream = CUstream_st*;

/// What GEMMs take in.
enum class GemmType { kBFloat16, kFloat16, kFloat32 };
/// Numbers for GEMMs.
struct Operand {
  void* data = nullptr;
  GemmType type = GemmType::kFloat32;
};

/// A table of class centres with its optimizer's state.
struct Table {
  void* weights = nullptr;   ///< [rows, dim]
  void* momentum = nullptr;  ///< [rows, dim] or null
  void* squares = nullptr;   ///< [rows, dim] or null: AdamW's
  std::int32_t* updates = nullptr;
  /// With `to_now`: a row's missed steps are to_now[steps_seen[row]]. Null: none are missed.
  std::int32_t* steps_seen = nullptr;
  const formulas::CatchUp* to_now = nullptr;
  NumberType weight_type = NumberType::kFloat32, state_type = NumberType::kFloat32;
  std::int64_t dim = 0;
  std::int64_t first_class = 0;  ///< of the rows
};

/// Rows of a table that a step uses.
struct SampledRows {
  const std::int64_t* rows = nullptr;  ///< [count], on the GPU
  std::int64_t count = 0;
};

/// weights [count, dim] of a table's first `count` rows = N(0, deviation²) by global class.
void fill_normal(const Table& table, std::int64_t count, float deviation,
                 const CounterRandom& random, Stream stream);

/// unit [padded, dim] = the rows / ‖row‖, zeros from `count` on; inverse_norm [count] = 1 / ‖row‖.
void gather_normalize(const Table& table, const SampledRows& sampled, std::int64_t padded,
                      Operand unit, float* inverse_norm, Stream stream);

/// values [count, dim] float32 = the rows, brought through the steps they missed.
void read_rows(const Table& table, const SampledRows& sampled, float* values, Stream stream);

/// What a margin does to samples whose own class this rank owns. Each is indexed by the sample;
/// where `targets` is −1 they are left alone.
struct OwnClasses {
  const std::int32_t* targets = nullptr;  ///< [N] place in the sampled rows, or −1
  double* phi = nullptr;                  ///< [N] φ(cos)
  double* slope = nullptr;                ///< [N] φ′(cos)
  float* d_sample = nullptr;              ///< [N, dim] ŵ − cos·x̂
  float* d_center = nullptr;              ///< [N, dim] x̂ − cos·ŵ
};

/// embeddings [N, dim] float32, of about unit length.
void prepare_own_classes(const Table& table, const SampledRows& sampled, const float* embeddings,
                         std::int64_t samples, const Margin::Terms& margin, const OwnClasses& own,
                         Stream stream);

/// The classes of a tile: places [begin, begin + count) of the sampled rows, `padded` columns.
struct TileShape {
  std::int64_t samples = 0, begin = 0, count = 0, padded = 0;
};

/// Of a softmax over tiles (online softmax), for N samples.
struct SoftmaxState {
  float* maximum = nullptr;       ///< [N] of the logits so far
  float* sum = nullptr;           ///< [N] of exp(logit − maximum)
  float* d_embeddings = nullptr;  ///< [N, dim] shrinks where a maximum rises
  std::int64_t dim = 0;
};

struct Logits {
  const float* cosines = nullptr;  ///< [N, padded]
  float scale = 1;
  float threshold = 0;  ///< cosines above it leave the softmax; 2: none
};

/// One tile of pass 1: probabilities [N, padded] = exp(scale·cosine − maximum), with φ in place of
/// a sample's own cosine, the maximum that of the samples' logits up to here, which `tile_maximum`
/// [N] keeps; zeros in the columns from `count` on.
void softmax_tile(const TileShape& tile, const Logits& logits, const OwnClasses& own,
                  const SoftmaxState& state, Operand probabilities, float* tile_maximum,
                  Stream stream);

/// The same with a maximum that is known: exp(scale·cosine − shift[sample]).
void exp_tile(const TileShape& tile, const Logits& logits, const OwnClasses& own,
              const float* shift, Operand probabilities, Stream stream);

/// What all ranks' softmaxes make together.
struct JoinedSoftmax {
  const float* all = nullptr;      ///< [W, N, 3] maximum, sum, target logit (−∞ with other ranks)
  const float* valid = nullptr;    ///< [N]
  const float* count = nullptr;    ///< [1] of the step's valid samples
  std::int64_t world = 1, samples = 0;
  float* log_sum = nullptr;        ///< [N] log of the softmax's denominator
  float* weight = nullptr;         ///< [N] scale·valid / count
  double* loss = nullptr;          ///< [1] gains the samples' part
  float* skip = nullptr;           ///< [1] becomes 1 where the loss is not finite
};

/// locals [N, 3]: this rank's part of JoinedSoftmax::all.
void pack_softmax(const SoftmaxState& state, const OwnClasses& own, float scale,
                  std::int64_t samples, float* locals, Stream stream);
void join_softmax(const JoinedSoftmax& joined, float scale, Stream stream);

/// d_embeddings becomes the loss's gradient: times weight·exp(maximum − log_sum), less what the
/// margin makes of a sample's own class; d_center likewise becomes the loss's.
void finish_embeddings(const JoinedSoftmax& joined, const SoftmaxState& state,
                       const OwnClasses& own, float scale, Stream stream);

/// weighted [N, dim] = embedding · weight · exp(shift − log_sum).
void weigh_embeddings(const float* embeddings, const JoinedSoftmax& joined, const float* shift,
                      std::int64_t dim, Operand weighted, Stream stream);

/// The owned samples in the order of their classes.
struct OwnedOrder {
  const std::int32_t* samples = nullptr;  ///< [count]
  const std::int32_t* places = nullptr;   ///< [count] ascending, in the sampled rows
  std::int64_t first = 0, last = 0;       ///< those of a tile
};

/// d_unit [tile, dim], less the owned samples' d_center, in their order.
void subtract_own(const OwnedOrder& owned, const float* d_center, std::int64_t dim,
                  std::int64_t begin, float* d_unit, Stream stream);

/// The optimizer of a table.
struct UpdateRule {
  bool adamw = false;
  formulas::SgdStep sgd = {};
  double lr = 0, weight_decay = 0;
  std::int32_t steps_seen = 0;  ///< what updated rows have been through afterwards
  std::uint64_t change = 0;     ///< what rounding draws from
};

/// The normalisation's backward and the optimizer's step; nothing where skip[0] is not 0.
void update_rows(const Table& table, const SampledRows& sampled, const float* d_unit,
                 const float* inverse_norm, const UpdateRule& rule, const CounterRandom& random,
                 const float* skip, Stream stream);

/// Brings the table's first `count` rows through the steps they missed.
void catch_up(const Table& table, std::int64_t count, std::uint64_t change,
              const CounterRandom& random, Stream stream);

}  // namespace pfc::kernels::cuda
