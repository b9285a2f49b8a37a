#pragma once

#include <array>
#include <cstdint>

#include "head/kernels/formulas.h"
#include "head/kernels/row_rules.h"
#include "pfc/base/random.h"
#include "pfc/head/loss.h"
#include "pfc/head/number_type.h"
#include "pfc/plan/sampler.h"

struct CUstream_st;

/// The work around the head's GEMMs on a GPU: plain pointers to its memory (or to pinned host
/// memory), and work that is put on a stream. `formulas.h` says what each function computes.
/// Nothing here waits.
///
/// A tile of logits is [batch, classes]: a sample is a row, so its softmax is the work of one
/// block. Sizes of embeddings and of tiles are multiples of kWidth.
namespace pfc::kernels::cuda {

inline constexpr std::int64_t kWidth = 8;
/// No tile has more columns.
inline constexpr std::int64_t kMostColumns = 16384;

using Stream = CUstream_st*;

/// Probabilities, and the embeddings from which centres' gradients are made, go into GEMMs
/// multiplied by this. float16 has nothing below 6e-8, where most probabilities of a million
/// classes lie. It is a power of two, so no digit changes, and half of the largest that float16
/// holds.
inline constexpr float kRaised = 32768;

/// The input type of GEMMs.
enum class GemmType { kBFloat16, kFloat16, kFloat32 };
/// Numbers for GEMMs.
struct Operand {
  void* data = nullptr;
  GemmType type = GemmType::kFloat32;
};

/// A table of class centres with what its rule keeps beside them.
struct Table {
  void* weights = nullptr;                     ///< [rows, dim]
  std::array<void*, kMostStates> states = {};  ///< each [rows, dim] or null
  std::int32_t* updates = nullptr;             ///< [rows] or null: how often each was updated
  /// With `to_now`: the missed steps of a row are to_now[steps_seen[row]]. Null: none are missed.
  std::int32_t* steps_seen = nullptr;
  const CatchUp* to_now = nullptr;
  NumberType weight_type = NumberType::kFloat32, state_type = NumberType::kFloat32;
  std::int64_t dim = 0;
  std::int64_t first_class = 0;  ///< of the rows
  /// For a part of a table, ascending: its row i is row numbers[i] of the whole. Null: the whole
  /// table.
  const std::int64_t* numbers = nullptr;
};

/// The values that change from step to step, in the GPU's memory. So the same launches, which a
/// graph may hold, can make any step.
struct StepScalars {
  std::int64_t count = 0;  ///< S, sampled rows
  std::int64_t owned = 0;  ///< of the micro-batch's samples
  // For pass 2.
  CenterOptimizer optimizer = {};
  double lr = 0;
  std::int32_t steps_seen = 0;  ///< how many steps updated rows have been through afterwards
  std::uint64_t change = 0;     ///< the source of random rounding
  // For a loss that draws.
  std::int64_t step = 0;
  std::int64_t first = 0;  ///< place of the micro-batch's first sample in the batch
};

/// Places [begin, begin + size) of a step's sampled rows. Places from step->count on are empty.
struct SampledRows {
  const std::int64_t* rows = nullptr;  ///< [step->count]
  const StepScalars* step = nullptr;
  std::int64_t begin = 0, size = 0;
};

/// Copies pinned host memory into the GPU's, in whole words of 4 bytes. For small data only: a copy
/// has to wait for the copy engine, and this does not.
void upload_words(const std::uint32_t* from, std::int64_t count, std::uint32_t* to, Stream stream);

/// rows [K·(drawn.count() + others)] = the rows of a step's sampled classes, ascending
/// (SampledClasses::list), of which each has K = `centers`. listed [others].
void list_rows(const StratifiedDraw& drawn, const std::int64_t* listed, std::int64_t others,
               std::int64_t centers, std::int64_t* rows, Stream stream);

/// weights [count, dim] of a table's first `count` rows = N(0, deviation²) by global class.
void fill_normal(const Table& table, std::int64_t count, float deviation,
                 const CounterRandom& random, Stream stream);

/// unit [size, dim] = the rows / ‖row‖, zeros for empty places; inverse_norm [size] = 1 / ‖row‖.
void gather_normalize(const Table& table, const SampledRows& sampled, Operand unit,
                      float* inverse_norm, Stream stream);

// Copy parts of `count` rows, of the same kind as the whole table. The whole may lie in pinned host
// memory.

/// Ascending lists of rows that a copy leaves out.
struct LeftOut {
  static constexpr int kLists = 2;
  const std::int64_t* rows[kLists] = {};
  std::int64_t counts[kLists] = {};
};
void load_rows(const Table& whole, const Table& part, std::int64_t count, const LeftOut& left_out,
               Stream stream);
void store_rows(const Table& part, const Table& whole, std::int64_t count, const LeftOut& left_out,
                Stream stream);
/// Copies to `to` the rows that `from` also has.
void forward_rows(const Table& from, std::int64_t from_count, const Table& to,
                  std::int64_t to_count, Stream stream);

/// values [count, dim] float32 = the rows, brought through their missed steps.
void read_rows(const Table& table, const std::int64_t* rows, std::int64_t count, float* values,
               Stream stream);

/// Samples and their own classes, where this rank owns those. Each is indexed by the sample; where
/// `targets` is −1 the others are left alone.
struct OwnClasses {
  const std::int32_t* targets = nullptr;  ///< [N] place of the class's first row, or −1
  std::int64_t centers = 1;               ///< K, rows that a class has
  std::int32_t* nearest = nullptr;        ///< [N] place of the nearest of them
  double* cosine = nullptr;               ///< [N] to it; 0 where another rank owns the class
  double* phi = nullptr;                  ///< [N] φ(cos)
  double* slope = nullptr;                ///< [N] φ′(cos)
  double* by_length = nullptr;            ///< [N] ∂φ/∂‖x‖
  float* d_sample = nullptr;              ///< [N, dim] ŵ − cos·x̂
  float* d_center = nullptr;              ///< [N, dim] x̂ − cos·ŵ
};

/// A micro-batch's embeddings, of about unit length.
struct Samples {
  float* embeddings = nullptr;  ///< [N, dim]
  Operand x = {};               ///< [N, dim] the same for GEMMs
  std::int64_t count = 0;       ///< N
};

/// own.nearest, own.cosine, own.d_sample and own.d_center.
void own_cosines(const Table& table, const SampledRows& sampled, const Samples& samples,
                 const OwnClasses& own, Stream stream);

/// What a loss looks at and keeps, of N samples.
struct LossState {
  std::int64_t samples = 0;           ///< N
  const double* cosines = nullptr;    ///< [N] own cosines, of all of them if the loss shares them
  const float* lengths = nullptr;     ///< [N] of a loss that uses them
  const float* valid = nullptr;       ///< [N] of a loss that moves
  const StepScalars* step = nullptr;  ///< for draws
  CounterRandom random{0, RandomStream::kLoss};
  double* moving = nullptr;       ///< its moving numbers
  float* bounds = nullptr;        ///< [N] of a loss that bends the others' cosines
  LossTerm* penalties = nullptr;  ///< [N] of a loss that has them
};

/// The loss's moving numbers follow the batch.
void follow_batch(const Loss& loss, const LossState& state, Stream stream);
/// own.phi, own.slope, own.by_length; state.bounds, state.penalties.
void apply_loss(const Loss& loss, const LossState& state, const OwnClasses& own, Stream stream);

/// A tile's logits: `classes.size` columns for each sample.
struct TileShape {
  std::int64_t samples = 0;
  SampledRows classes = {};
};

/// The state of a softmax over tiles (online softmax), for N samples and the classes that are not
/// their own. The gradient's sum is kept in parts. Each lane has one state; they lie one after
/// another. Sums within a tile are float32 trees, which round little; the sum over tiles is
/// float64.
struct SoftmaxState {
  float* maximum = nullptr;       ///< [N] of the logits so far, or a constant shift
  double* sum = nullptr;          ///< [sums, N] whose total is that of exp(logit − maximum)
  float* d_embeddings = nullptr;  ///< [parts, N, dim] times kRaised; shrinks when a maximum rises
  std::int64_t parts = 1, samples = 0, dim = 0, sums = 1;
};

/// Makes `samples` from embeddings [N, dim] and resets the lanes: they have met no class. Their
/// maximum is −∞, or the constant shift.
void begin_samples(const float* embeddings, const Samples& samples, const SoftmaxState& state,
                   std::int64_t lanes, float maximum, Stream stream);

struct Logits {
  float* cosines = nullptr;  ///< [N, size]
  float scale = 1;
  float filter = kNoFilter;       ///< cosines above it leave the softmax
  std::int64_t centers = 1;       ///< K, columns that a class has
  const float* bounds = nullptr;  ///< LossState's
  const double* moving = nullptr;
};

/// Of each class's columns the largest cosine stays, the first of equal ones; the others become −∞.
void keep_nearest(const TileShape& tile, const Logits& logits, Stream stream);

/// One tile of pass 1: probabilities [N, size] = kRaised·exp(scale·cosine − maximum), of what the
/// loss makes of the cosine and times its slope, the maximum
/// that of the samples' logits up to here, which `tile_maximum` [N] keeps (−∞ if none counted);
/// zeros in columns without a class, and in a sample's own, `targets` [N] as OwnClasses has them:
/// that joins the others in `join_softmax`, where p − 1 is not lost to rounding.
void softmax_tile(const TileShape& tile, const Loss& loss, const Logits& logits,
                  const std::int32_t* targets, const SoftmaxState& state, Operand probabilities,
                  float* tile_maximum, Stream stream);

/// Merges the states of all lanes into the first, whose first part and first sum become the whole
/// ones. A sample that met no class has the maximum −∞. locals [N, 3] becomes this rank's part of
/// JoinedSoftmax::all.
void merge_softmax(const SoftmaxState& state, std::int64_t lanes, const OwnClasses& own,
                   float scale, double* locals, Stream stream);

/// The same probabilities again, from the maxima that softmax_tile kept.
void exp_tile(const TileShape& tile, const Loss& loss, const Logits& logits,
              const std::int32_t* targets, const float* tile_maximum, Operand probabilities,
              Stream stream);

// Where a constant shift serves (constant_shift.h), a kernel makes a tile's cosines and keeps only
// their exponentials.

/// What a tile's cosines are products of, in bfloat16.
struct Factors {
  const void* x = nullptr;     ///< [N, dim]
  const void* unit = nullptr;  ///< [size, dim]
  std::int64_t dim = 0;
};

/// Whether the current GPU can do so.
bool has_exponentials();
/// How many sums a sample has of a tile with so many columns.
std::int64_t exponential_sums(std::int64_t columns);
/// probabilities [N, size] in bfloat16 = kRaised·exp(scale·cosine − shift) for cosines x·unitᵀ, of
/// what the loss makes of them and times its slope; zeros where softmax_tile has them. sums
/// [exponential_sums, N] gain sums of exp(scale·cosine − shift), or are null. logits.cosines is not
/// looked at; a class has one centre.
void exponentials(const TileShape& tile, const Loss& loss, const Logits& logits, float shift,
                  const Factors& factors, const std::int32_t* targets, double* sums,
                  void* probabilities, Stream stream);

/// The joined softmaxes of all ranks.
struct JoinedSoftmax {
  const double* all = nullptr;  ///< [W, N, 3] maximum, sum, own logit (−∞ if another rank owns it)
  const float* valid = nullptr;  ///< [N]
  const float* count = nullptr;  ///< [1] of the step's valid samples
  std::int64_t world = 1, samples = 0;
  double* log_sum = nullptr;            ///< [N] log of the softmax's denominator; ∞ if valid is 0
  double* losses = nullptr;             ///< [N] −log p of a sample's own class; 0 if valid is 0
  float* worth = nullptr;               ///< [1] see CenterGradients
  double* loss = nullptr;               ///< [1] gains the samples' part
  float* skip = nullptr;                ///< [1] becomes 1 where the loss is not finite
  const LossTerm* penalties = nullptr;  ///< [N] of a loss that has them
  float* d_lengths = nullptr;           ///< [N] gradient by the lengths, of a loss that has one
};

/// Before the first micro-batch of a step: sets the loss to 0, with nothing to skip, and counts the
/// valid samples of valid [batch].
void begin_loss(const float* valid, std::int64_t batch, float* count, double* loss, float* skip,
                Stream stream);
/// Joins the ranks' parts. d_embeddings [N, dim] = the loss's gradient: the sum of `state` times
/// scale / count·exp(maximum − log_sum) / kRaised, minus the part of a sample's own class.
/// own.d_center becomes that part of CenterGradients.
void join_softmax(const JoinedSoftmax& joined, const SoftmaxState& state, const OwnClasses& own,
                  float scale, float* d_embeddings, Stream stream);

/// weighted [N, dim] = kRaised · embedding · exp(tile_maximum − log_sum); with it a tile's
/// probabilities give its d_unit. On entry it holds the values for the maxima `before`, or null;
/// only rows whose maximum differs are written. Of a constant shift the maximum is merge_softmax's.
void weigh_embeddings(const Samples& samples, const JoinedSoftmax& joined,
                      const float* tile_maximum, const float* before, std::int64_t dim,
                      Operand weighted, Stream stream);

/// The owned samples of a micro-batch in the order of their classes.
struct OwnedOrder {
  const std::int32_t* samples = nullptr;  ///< [step->owned]
  const std::int32_t* places = nullptr;   ///< [step->owned] ascending, of their classes' first rows
  std::int32_t* first = nullptr;  ///< [S] of each class's samples the first in this order, or −1
  std::int64_t centers = 1;       ///< K
  const std::int32_t* nearest = nullptr;  ///< [N] OwnClasses::nearest
};

/// Fills order.first, which must be −1 everywhere. `most` is at least step->owned.
void find_owned(const OwnedOrder& order, const StepScalars* step, std::int64_t most, Stream stream);

/// The loss's gradients by the unit centres of a tile: worth·(d_unit − d_center of the owned
/// samples) + so_far.
struct CenterGradients {
  const float* d_unit = nullptr;  ///< [size, dim]
  OwnedOrder owned = {};
  const float* d_center = nullptr;      ///< [N, dim] OwnClasses::d_center
  const float* so_far = nullptr;        ///< [size, dim] of earlier micro-batches, or null
  const float* worth = nullptr;         ///< [1] scale / (count·kRaised²)
  const float* inverse_norm = nullptr;  ///< [size] 1 / ‖centre‖
};

/// total [size, dim] = the gradients. It may be `so_far`.
void sum_gradients(const SampledRows& sampled, const CenterGradients& gradients, std::int64_t dim,
                   float* total, Stream stream);

/// The normalisation's backward and an update of a tile's rows by the rule of this kind; nothing
/// where skip[0] is not 0.
void update_rows(const Table& table, const SampledRows& sampled, CenterOptimizer::Kind kind,
                 const CenterGradients& gradients, const CounterRandom& random, const float* skip,
                 Stream stream);

/// Brings the table's first `count` rows through their missed steps.
void catch_up(const Table& table, std::int64_t count, std::uint64_t change,
              const CounterRandom& random, Stream stream);

}  // namespace pfc::kernels::cuda
