#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/ceil_divide.h"
#include "head/head_steps.h"
#include "head/host_rows.h"
#include "head/kernels/formulas.h"
#include "head/kernels/kernels.h"
#include "head/online_softmax.h"

namespace pfc {
namespace {

at::Tensor unit_rows(const at::Tensor& x) {
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

/// The buffers of one thread.
struct Worker {
  at::Tensor weighted;    ///< [N, d] see weigh_embeddings; in pass 1 the softmax's block
  OnlineSoftmax softmax;  ///< over the tiles of this thread
  at::Tensor unit;        ///< [tile, d] normalised centres; their gradient in pass 2
  at::Tensor logits;      ///< [tile, N] cosines, then probabilities
  at::Tensor shift;       ///< [N] the shift that `weighted` was made for
  at::Tensor sink;        ///< [N] sums that are not used

  Worker(std::int64_t samples, std::int64_t dim, std::int64_t tile)
      : weighted(at::empty({samples, dim}, at::kFloat)),
        softmax(weighted),
        unit(at::empty({tile, dim}, at::kFloat)),
        logits(at::empty({tile, samples}, at::kFloat)),
        shift(at::empty({samples}, at::kFloat)),
        sink(at::zeros({samples}, at::kDouble)) {}
};

/// On the CPU: tiles that fit into a core's cache, shared by threads.
class CpuHead final : public HeadSteps {
 public:
  CpuHead(const PartialFcOptions& options, CenterTable& table)
      : options_(options),
        table_(table),
        host_rows_(std::in_place, TableState::of(table)),
        centers_(centers_a_class(options.loss)),
        moving_(at::tensor(first_moving_numbers(options.loss), at::kDouble)) {}

  void begin(const SampledClasses& classes, const at::Tensor& valid) override;
  void extend(const SampledClasses& classes, const at::Tensor& valid) override;
  void table_changed(bool) override { host_rows_.emplace(TableState::of(table_)); }
  void forward(const Embeddings& embeddings, Communicator& comm, std::int64_t first) override;
  void exchange(Communicator& comm) override;
  at::Tensor loss() const override { return at::scalar_tensor(loss_, at::kDouble); }
  const at::Tensor& d_embeddings() const override { return d_embeddings_; }
  const at::Tensor& d_lengths() const override { return d_lengths_; }
  at::Tensor moving_numbers() const override { return moving_; }
  void weigh(const at::Tensor& factor, PartialFc::GradientsOf what) override;
  void update(double lr, Pending& in_flight, const at::Tensor& skip) override;
  void accumulate(Pending& in_flight) override;

 private:
  using Keep = PartialFc::Keep;
  struct Tile {
    std::int64_t number, begin, end;  ///< rows [begin, end) of the sampled ones
    /// The owned samples whose class is among these rows.
    std::int64_t first_owned = 0, last_owned = 0;
    std::int64_t rows() const { return end - begin; }
  };

  void list_rows();
  void move_accumulated(std::span<const LocalRow> before);
  void reserve();
  void prepare_own_classes(Communicator& comm);
  /// What the loss `L` makes of the samples' own cosines, [n] those of the owned ones.
  template <class L>
  void apply_loss(const L& loss, const at::Tensor& cosines, Communicator& comm);
  template <class L>
  void add_lengths(const L& loss);
  kernels::Others others() const;
  /// Calls body(worker, tile) for every tile, on all threads: each has a consecutive share of the
  /// sampled rows, so the result depends on their number but not on their speed.
  template <typename Body>
  void for_each_tile(const Body& body);
  /// Calls body(tile, d_unit [rows, d]) with every tile's gradient by its unit centres.
  template <typename Body>
  void for_each_gradient(Pending& in_flight, const Body& body);
  std::span<const LocalRow> rows(const Tile& tile) const;
  at::Tensor cosines(Worker& worker, const Tile& tile);
  void join_own(const at::Tensor& others, const at::Tensor& own);
  at::Tensor probabilities(Worker& worker, const Tile& tile);
  void weigh_embeddings(Worker& worker, const at::Tensor& shift) const;

  const PartialFcOptions& options_;
  CenterTable& table_;
  std::optional<HostRows> host_rows_;  ///< of it
  std::int64_t centers_;               ///< K, rows that a class has, one after another
  std::int64_t tile_rows_ = 0;
  at::Tensor moving_;  ///< the loss's numbers, in the order of its Moving

  // Of the step under way: S sampled rows, K of each class.
  SampledClasses classes_;
  std::vector<LocalRow> rows_;  ///< [S]
  at::Tensor step_valid_;       ///< [B] of the whole step
  at::Tensor d_unit_so_far_;    ///< [S, d] the sum of `accumulate`
  bool accumulating_ = false;
  double loss_ = 0;
  bool skip_ = false;  ///< a loss of the step was not finite

  // Of the micro-batch under way: N samples, T tiles, n samples whose own class this rank owns.
  std::int64_t first_ = 0;                 ///< its first sample's place in the batch
  std::span<const SampledPlace> targets_;  ///< [N] of classes_.targets
  at::Tensor embeddings_;                  ///< [N, d]
  at::Tensor lengths_;                     ///< [N] float64, of a loss that uses them
  at::Tensor valid_;                       ///< [N]
  at::Tensor d_embeddings_;                ///< [N, d]
  at::Tensor d_lengths_;                   ///< [N] of a loss that has a gradient by them
  at::Tensor log_sum_;                     ///< [N] log of the softmax's denominator over all ranks
  at::Tensor shift_;                       ///< [N] the same in float32, to subtract from logits
  at::Tensor rest_;                        ///< [N] 1 − p of the own class
  at::Tensor weight_;                      ///< [N] s·valid / number of the step's valid samples

  // Of the n owned samples, in the order of their classes. What the margin adds to their gradients
  // is kept apart, in directions orthogonal to the unit vectors: near cosines of ±1 an angular
  // margin's slope is large, and what is left of slope·centre after the normalisation's backward
  // would drown in rounding.
  at::Tensor own_samples_;    ///< [n] i64, places in the micro-batch
  at::Tensor own_rows_;       ///< [n] i64, places in the sampled rows, of the nearest of K
  at::Tensor own_phi_;        ///< [n] φ(cos)
  at::Tensor own_slope_;      ///< [n] φ′(cos)
  at::Tensor own_by_length_;  ///< [n] ∂φ/∂‖x‖
  at::Tensor bounds_;         ///< [N] of a loss that bends the others' cosines
  at::Tensor d_own_sample_;   ///< [n, d] the cosine's gradient by the sample, ŵ − cos·x̂
  at::Tensor d_own_center_;  ///< [n, d] the same by the class centre; after the exchange the loss's

  // Kept from step to step.
  Keep keep_ = Keep::kNothing;
  std::vector<Worker> workers_;
  std::int64_t most_tiles_ = 0;  ///< of a worker
  at::Tensor inverse_norm_;      ///< [S]
  at::Tensor kept_;          ///< [S, N] exp(logit − its thread's maximum at that time), or [0, N]
  at::Tensor kept_maximum_;  ///< [T, N] that maximum
};

/// Each thread lists a share.
void CpuHead::list_rows() {
  constexpr std::int64_t kListedAThread = 4096;
  const std::int64_t count = classes_.count();
  rows_.resize(static_cast<std::size_t>(count * centers_));
  at::parallel_for(0, count, kListedAThread, [&](std::int64_t begin, std::int64_t end) {
    classes_.list(begin, std::span(rows_).subspan(static_cast<std::size_t>(begin),
                                                  static_cast<std::size_t>(end - begin)));
  });
  if (centers_ == 1) return;
  for (std::int64_t i = count * centers_ - 1; i >= 0; --i) {  // a class's place is behind its rows'
    const std::int64_t local = rows_[static_cast<std::size_t>(i / centers_)].v;
    rows_[static_cast<std::size_t>(i)] = {local * centers_ + i % centers_};
  }
}

void CpuHead::reserve() {
  const std::int64_t samples = embeddings_.size(0), rows = std::ssize(rows_);
  const std::int64_t threads = at::get_num_threads();
  if (std::ssize(workers_) == threads && kept_.size(1) == samples && inverse_norm_.size(0) >= rows)
    return;
  // A draw never holds fewer classes than S₀ nor more than S₀ + B: with B to spare this is the last
  // reservation of this sample rate.
  const std::int64_t most =
      std::min(rows + std::ssize(classes_.targets) * centers_, table_.shard().rows());
  tile_rows_ = ceil_divide(PartialFc::tile_rows(options_, samples), centers_) * centers_;
  const std::int64_t tile = std::min(tile_rows_, most);
  keep_ = PartialFc::keep(options_, most, samples);
  kept_ = at::Tensor();  // its memory is free for what takes its place
  inverse_norm_ = at::empty({most}, at::kFloat);
  kept_ = at::empty({keep_ == Keep::kNothing ? 0 : most, samples},
                    keep_ == Keep::kBFloat16 ? at::kBFloat16 : at::kFloat);
  most_tiles_ = ceil_divide(ceil_divide(most, threads), tile) + (centers_ > 1 ? 1 : 0);
  kept_maximum_ = at::empty({threads * most_tiles_, samples}, at::kFloat);
  workers_.clear();
  for (std::int64_t i = 0; i < threads; ++i) workers_.emplace_back(samples, table_.dim(), tile);
}

void CpuHead::prepare_own_classes(Communicator& comm) {
  std::vector<std::int64_t> samples, places;
  std::vector<LocalRow> table_rows;
  const auto target = [&](std::int64_t i) { return targets_[static_cast<std::size_t>(i)]; };
  for (std::int64_t i = 0; i < std::ssize(targets_); ++i) {
    if (target(i).is_owned()) samples.push_back(i);
  }
  std::stable_sort(samples.begin(), samples.end(),
                   [&](auto a, auto b) { return target(a) < target(b); });
  for (const std::int64_t i : samples) {
    places.push_back(target(i).v * centers_);
    for (std::int64_t k = 0; k < centers_; ++k)
      table_rows.push_back(rows_[static_cast<std::size_t>(places.back() + k)]);
  }
  own_samples_ = at::tensor(samples, at::kLong);
  own_rows_ = at::tensor(places, at::kLong);

  const at::Tensor x = unit_rows(embeddings_.index_select(0, own_samples_).to(at::kDouble));
  at::Tensor w = unit_rows(table_.rows(table_rows).to(at::kDouble));
  if (centers_ > 1) {
    const at::Tensor all = w.view({-1, centers_, table_.dim()});
    const at::Tensor nearest = all.matmul(x.unsqueeze(2)).squeeze(2).argmax(1);
    own_rows_.add_(nearest);
    w = w.index_select(0, at::arange(std::ssize(samples), at::kLong) * centers_ + nearest);
  }
  const at::Tensor cosines = (x * w).sum(1);
  d_own_sample_ = at::addcmul(w, cosines.unsqueeze(1), x, -1).to(at::kFloat);
  d_own_center_ = at::addcmul(x, cosines.unsqueeze(1), w, -1).to(at::kFloat);
  std::visit([&](const auto& loss) { apply_loss(loss, cosines, comm); }, options_.loss);
}

template <class L>
void CpuHead::apply_loss(const L& loss, const at::Tensor& cosines, Communicator& comm) {
  at::Tensor shared;  // [N] own cosines of all samples
  if constexpr (kLossSharesCosines<L>) {
    shared = at::zeros({std::ssize(targets_)}, at::kDouble).index_put_({own_samples_}, cosines);
    comm.all_reduce(shared).wait();  // each sample has one owner: sums with zeros are exact
  }
  const CounterRandom random(options_.table.seed, RandomStream::kLoss);
  const auto sample = [&](std::int64_t i, const double* cosine) {
    LossSample found;
    if (cosine != nullptr) found.cosine = clip(*cosine, -1, 1);
    if constexpr (kLossUsesLength<L>) found.length = lengths_.const_data_ptr<double>()[i];
    if constexpr (kLossDraws<L>)
      found.normal = kernels::formulas::loss_draw(random, classes_.step, first_ + i);
    return found;
  };
  const auto shared_cosine = [&](std::int64_t i) {
    return kLossSharesCosines<L> ? shared.const_data_ptr<double>() + i : nullptr;
  };
  if constexpr (kLossMoves<L>) {
    kernels::formulas::BatchSum sum;
    const auto each = [&](auto&& add) {
      for (std::int64_t i = 0; i < std::ssize(targets_); ++i) {
        if (valid_.const_data_ptr<float>()[i] > 0) add(loss.observed(sample(i, shared_cosine(i))));
      }
    };
    each([&](double x) { sum.add(x); });
    each([&](double x) { sum.add_square(x); });
    auto* const moving = reinterpret_cast<Moving<L>*>(moving_.data_ptr<double>());
    if (sum.is_finite()) loss.follow(sum.batch(), *moving);
  }
  if constexpr (kLossBends<L>) {
    bounds_ = at::empty({std::ssize(targets_)}, at::kFloat);
    for (std::int64_t i = 0; i < std::ssize(targets_); ++i) {
      bounds_.data_ptr<float>()[i] =
          static_cast<float>(loss.bound(sample(i, shared_cosine(i)).cosine));
    }
  }
  const Moving<L> moving = pfc::moving_numbers<L>(moving_.const_data_ptr<double>());
  own_phi_ = at::empty_like(cosines);
  own_slope_ = at::empty_like(cosines);
  if constexpr (kLossHasLengthGradient<L>) own_by_length_ = at::empty_like(cosines);
  for (std::int64_t k = 0; k < cosines.size(0); ++k) {
    const std::int64_t i = own_samples_.const_data_ptr<std::int64_t>()[k];
    const OwnCosine phi = own_cosine(loss, sample(i, cosines.const_data_ptr<double>() + k), moving);
    own_phi_.data_ptr<double>()[k] = phi.value;
    own_slope_.data_ptr<double>()[k] = phi.slope;
    if constexpr (kLossHasLengthGradient<L>) own_by_length_.data_ptr<double>()[k] = phi.by_length;
  }
}

kernels::Others CpuHead::others() const {
  return {.loss = options_.loss,
          .filter = options_.filter(),
          .bounds = bounds_.defined() ? bounds_.const_data_ptr<float>() : nullptr,
          .moving = moving_.const_data_ptr<double>()};
}

template <typename Body>
void CpuHead::for_each_tile(const Body& body) {
  const std::int64_t classes = classes_.count(), threads = std::ssize(workers_);
  const std::int64_t* const places = own_rows_.const_data_ptr<std::int64_t>();
  const std::int64_t* const last_place = places + own_rows_.size(0);
  const auto work = [&](std::int64_t thread) {
    const at::NoGradGuard no_grad;
    const std::int64_t begin = classes * thread / threads, end = classes * (thread + 1) / threads;
    const std::int64_t tiles = ceil_divide((end - begin) * centers_, tile_rows_);
    for (std::int64_t i = 0; i < tiles; ++i) {
      Tile tile{.number = thread * most_tiles_ + i,
                .begin = (begin + (end - begin) * i / tiles) * centers_,
                .end = (begin + (end - begin) * (i + 1) / tiles) * centers_};
      tile.first_owned = std::lower_bound(places, last_place, tile.begin) - places;
      tile.last_owned = std::lower_bound(places, last_place, tile.end) - places;
      body(workers_[static_cast<std::size_t>(thread)], tile);
    }
  };
  at::parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t thread = first; thread < last; ++thread) work(thread);
  });
}

std::span<const LocalRow> CpuHead::rows(const Tile& tile) const {
  return std::span(rows_).subspan(static_cast<std::size_t>(tile.begin),
                                  static_cast<std::size_t>(tile.rows()));
}

/// [tile, N]: cosines of the tile's classes and the samples; −∞ where a class is the sample's own,
/// which joins the others in `exchange`, and for all but the nearest of a class's centres. They lie
/// where they are kept, if in this type. worker.unit holds the unit centres.
at::Tensor CpuHead::cosines(Worker& worker, const Tile& tile) {
  const at::Tensor unit = worker.unit.narrow(0, 0, tile.rows());
  host_rows_->gather_normalize(rows(tile), unit, inverse_norm_.narrow(0, tile.begin, tile.rows()));
  at::Tensor z = keep_ == Keep::kFloat32 ? kept_.narrow(0, tile.begin, tile.rows())
                                         : worker.logits.narrow(0, 0, tile.rows());
  at::mm_out(z, unit, embeddings_.t());
  float* const cosines = z.data_ptr<float>();
  const std::int64_t samples = z.size(1);
  for (std::int64_t k = tile.first_owned; k < tile.last_owned; ++k) {
    const std::int64_t row = own_rows_.const_data_ptr<std::int64_t>()[k] - tile.begin;
    const std::int64_t first = row - row % centers_;
    const std::int64_t sample = own_samples_.const_data_ptr<std::int64_t>()[k];
    for (std::int64_t i = first; i < first + centers_; ++i)
      cosines[i * samples + sample] = kNoLogit;
  }
  if (centers_ > 1) kernels::keep_nearest(cosines, tile.rows(), samples, centers_);
  return z;
}

void CpuHead::begin(const SampledClasses& classes, const at::Tensor& valid) {
  if (classes.drawn_in_all != classes_.drawn_in_all) workers_.clear();  // other room is needed
  classes_ = classes;
  list_rows();
  step_valid_ = valid;
  accumulating_ = false;
  loss_ = 0;
  skip_ = false;
}

void CpuHead::extend(const SampledClasses& classes, const at::Tensor& valid) {
  const at::NoGradGuard no_grad;
  const std::vector<LocalRow> before = std::move(rows_);
  classes_ = classes;
  list_rows();
  step_valid_ = valid;
  loss_ = 0;
  if (accumulating_ && rows_.size() > before.size()) move_accumulated(before);
}

/// To the places that the rows have now; `before` are some of them.
void CpuHead::move_accumulated(std::span<const LocalRow> before) {
  const std::int64_t dim = table_.dim();
  const at::Tensor moved = at::zeros({std::ssize(rows_), dim}, at::kFloat);
  const float* from = d_unit_so_far_.const_data_ptr<float>();
  float* to = moved.data_ptr<float>();
  std::size_t i = 0;
  for (const LocalRow row : rows_) {
    if (i < before.size() && before[i] == row) {
      std::copy_n(from, dim, to);
      from += dim;
      ++i;
    }
    to += dim;
  }
  d_unit_so_far_ = moved;
}

void CpuHead::forward(const Embeddings& embeddings, Communicator& comm, std::int64_t first) {
  const at::NoGradGuard no_grad;
  const std::int64_t samples = embeddings.unit.size(0);
  first_ = first;
  embeddings_ = embeddings.unit.contiguous();
  if (uses_length(options_.loss)) lengths_ = embeddings.lengths.to(at::kDouble).contiguous();
  valid_ = step_valid_.narrow(0, first, samples);
  targets_ = std::span(classes_.targets)
                 .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(samples));
  reserve();
  prepare_own_classes(comm);

  for (Worker& worker : workers_) worker.softmax.clear();
  for_each_tile([&](Worker& worker, const Tile& tile) {
    const at::Tensor z = cosines(worker, tile);
    worker.softmax.add(z, worker.unit.narrow(0, 0, tile.rows()), options_.scale, others());
    kept_maximum_[tile.number].copy_(worker.softmax.maximum);
    if (keep_ == Keep::kBFloat16) kept_.narrow(0, tile.begin, tile.rows()).copy_(z);
  });
  for (Worker& worker : workers_) worker.softmax.finish();
  OnlineSoftmax& all = workers_.front().softmax;
  for (std::size_t i = 1; i < workers_.size(); ++i) all.merge(workers_[i].softmax);
  d_embeddings_ = all.d_embeddings;
}

void CpuHead::exchange(Communicator& comm) {
  const at::NoGradGuard no_grad;
  const OnlineSoftmax& local = workers_.front().softmax;
  const std::int64_t samples = local.maximum.size(0);
  const at::Tensor targets = at::full({samples}, kNoLogit, at::kDouble)
                                 .index_put_({own_samples_}, own_phi_ * options_.scale);
  const at::Tensor local_maximum = local.maximum.to(at::kDouble);
  const at::Tensor all = comm.all_gather(at::stack({local_maximum, local.sum, targets}, 1))
                             .wait()
                             .view({comm.world(), samples, 3});
  const at::Tensor maxima = all.select(2, 0);
  const at::Tensor maximum = maxima.amax(0);
  const at::Tensor shift = maximum.masked_fill(maximum == kNoLogit, 0);  // no other class counts
  const at::Tensor sum = (all.select(2, 1) * (maxima - shift).exp_()).sum(0);
  join_own(shift + sum.log(), all.select(2, 2).amax(0));

  weight_ = valid_ * (options_.scale / step_valid_.sum());
  const at::Tensor factor = weight_ * (local_maximum - log_sum_).exp_();
  d_embeddings_.mul_(factor.to(at::kFloat).unsqueeze(1));
  const at::Tensor own_weight =  // (1 − p)·φ′
      ((weight_ * rest_).index_select(0, own_samples_) * own_slope_).to(at::kFloat).unsqueeze(1);
  d_own_center_.mul_(own_weight);
  d_embeddings_.index_add_(0, own_samples_, d_own_sample_.mul_(own_weight), -1);
  std::visit([&](const auto& loss) { add_lengths(loss); }, options_.loss);
  skip_ = skip_ || !std::isfinite(loss_);
}

/// What the lengths alone make of the loss, and its gradient by them. A sample's owner has it all.
template <class L>
void CpuHead::add_lengths(const L& loss) {
  if constexpr (kLossHasLengthGradient<L>) {
    const double count = step_valid_.sum().item<double>();
    const double* const lengths = lengths_.const_data_ptr<double>();
    const float* const valid = valid_.const_data_ptr<float>();
    const auto penalty = [&](std::int64_t i) {
      if constexpr (kLossHasPenalty<L>) return loss.penalty(lengths[i]);
      return LossTerm();
    };
    double penalties = 0;
    for (std::int64_t i = 0; i < std::ssize(targets_); ++i)
      penalties += valid[i] > 0 ? penalty(i).value : 0;
    loss_ += penalties / count;
    d_lengths_ = at::zeros({std::ssize(targets_)}, at::kFloat);
    for (std::int64_t k = 0; k < own_samples_.size(0); ++k) {
      const std::int64_t i = own_samples_.const_data_ptr<std::int64_t>()[k];
      if (!(valid[i] > 0)) continue;
      const double by_phi = -options_.scale * static_cast<double>(rest_.const_data_ptr<float>()[i]);
      d_lengths_.data_ptr<float>()[i] = static_cast<float>(
          (by_phi * own_by_length_.const_data_ptr<double>()[k] + penalty(i).slope) / count);
    }
  }
}

/// others [N]: log of the sum of the other classes' exponentials; own [N]: the logits of the own
/// classes. Both float64.
void CpuHead::join_own(const at::Tensor& others, const at::Tensor& own) {
  const std::int64_t samples = others.size(0);
  log_sum_ = at::empty({samples}, at::kDouble);
  rest_ = at::empty({samples}, at::kFloat);
  double losses = 0;
  for (std::int64_t i = 0; i < samples; ++i) {
    const double logit = own.const_data_ptr<double>()[i];
    const auto [loss, rest] =
        kernels::formulas::own_loss(others.const_data_ptr<double>()[i], logit);
    log_sum_.data_ptr<double>()[i] = logit + loss;
    rest_.data_ptr<float>()[i] = static_cast<float>(rest);
    if (valid_.const_data_ptr<float>()[i] > 0) losses += loss;
  }
  shift_ = log_sum_.to(at::kFloat);
  loss_ += losses / step_valid_.sum().item<double>();
}

/// [tile, N]: the results of pass 1 for the tile's logits. worker.weighted becomes the matrix that
/// turns them into the gradient by the unit centres.
at::Tensor CpuHead::probabilities(Worker& worker, const Tile& tile) {
  if (keep_ == Keep::kNothing) {
    at::Tensor z = cosines(worker, tile);
    kernels::exp_columns(z.data_ptr<float>(), tile.rows(), z.size(1),
                         static_cast<float>(options_.scale), shift_.const_data_ptr<float>(),
                         others(), worker.sink.data_ptr<double>());
    weigh_embeddings(worker, shift_);
    return z;
  }
  weigh_embeddings(worker, kept_maximum_[tile.number]);
  at::Tensor kept = kept_.narrow(0, tile.begin, tile.rows());
  if (keep_ == Keep::kFloat32) return kept;
  return worker.logits.narrow(0, 0, tile.rows()).copy_(kept);
}

/// A sample's embedding times its weight in the loss times exp(shift − log_sum), which turns
/// exp(logit − shift) into a probability. Few shifts change from one tile to the next.
void CpuHead::weigh_embeddings(Worker& worker, const at::Tensor& shift) const {
  const std::int64_t dim = table_.dim();
  float* const known = worker.shift.data_ptr<float>();
  for (std::int64_t i = 0; i < shift.size(0); ++i) {
    const float now = shift.const_data_ptr<float>()[i];
    if (now == known[i]) continue;
    known[i] = now;
    const double share = std::exp(static_cast<double>(now) - log_sum_.const_data_ptr<double>()[i]);
    const auto factor =
        static_cast<float>(static_cast<double>(weight_.const_data_ptr<float>()[i]) * share);
    const float* const x = embeddings_.const_data_ptr<float>() + i * dim;
    float* const weighted = worker.weighted.data_ptr<float>() + i * dim;
    for (std::int64_t j = 0; j < dim; ++j) weighted[j] = factor * x[j];
  }
}

template <typename Body>
void CpuHead::for_each_gradient(Pending& in_flight, const Body& body) {
  const float* const own_terms = d_own_center_.const_data_ptr<float>();
  const std::int64_t dim = table_.dim();
  for (Worker& worker : workers_) worker.shift.fill_(std::nan(""));  // none is known yet
  for_each_tile([&](Worker& worker, const Tile& tile) {
    if (&worker == &workers_.front()) in_flight.poll();
    const at::Tensor p = probabilities(worker, tile);
    at::Tensor d_unit = worker.unit.narrow(0, 0, tile.rows());
    at::mm_out(d_unit, p, worker.weighted);
    for (std::int64_t k = tile.first_owned; k < tile.last_owned; ++k) {
      const std::int64_t row = own_rows_.const_data_ptr<std::int64_t>()[k] - tile.begin;
      float* const gradient = d_unit.data_ptr<float>() + row * dim;
      for (std::int64_t j = 0; j < dim; ++j) gradient[j] -= own_terms[k * dim + j];
    }
    body(tile, d_unit);
  });
}

void CpuHead::weigh(const at::Tensor& factor, PartialFc::GradientsOf what) {
  const at::NoGradGuard no_grad;
  if (factor.item<float>() == 1) return;
  if (what == PartialFc::GradientsOf::kEarlierOnes) {
    if (accumulating_) d_unit_so_far_.mul_(factor);
    return;
  }
  weight_.mul_(factor);
  d_own_center_.mul_(factor);
}

void CpuHead::update(double lr, Pending& in_flight, const at::Tensor& skip) {
  if (skip_ || (skip.defined() && skip.item<float>() != 0)) return;
  for_each_gradient(in_flight, [&](const Tile& tile, const at::Tensor& d_unit) {
    if (accumulating_) d_unit.add_(d_unit_so_far_.narrow(0, tile.begin, tile.rows()));
    host_rows_->update(rows(tile), d_unit, inverse_norm_.narrow(0, tile.begin, tile.rows()), lr);
  });
  TableState::of(table_).end_step(lr);
}

void CpuHead::accumulate(Pending& in_flight) {
  if (skip_) return;
  const std::int64_t most = inverse_norm_.size(0);
  if (!accumulating_ && (!d_unit_so_far_.defined() || d_unit_so_far_.size(0) < most))
    d_unit_so_far_ = at::empty({most, table_.dim()}, at::kFloat);
  for_each_gradient(in_flight, [&](const Tile& tile, const at::Tensor& d_unit) {
    at::Tensor so_far = d_unit_so_far_.narrow(0, tile.begin, tile.rows());
    if (accumulating_) {
      so_far.add_(d_unit);
    } else {
      so_far.copy_(d_unit);
    }
  });
  accumulating_ = true;
}

}  // namespace

std::unique_ptr<HeadSteps> make_cpu_head(const PartialFcOptions& options, CenterTable& table) {
  return std::make_unique<CpuHead>(options, table);
}

}  // namespace pfc
