#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "head/gpu_table.h"
#include "head/head_steps.h"
#include "head/kernels/kernels_cuda.h"
#include "head/table_view.h"

namespace pfc {
namespace {

namespace gpu = kernels::cuda;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNoFilter = 2;  // above every cosine

std::int64_t padded(std::int64_t rows) {
  return (rows + gpu::kWidth - 1) / gpu::kWidth * gpu::kWidth;
}

at::ScalarType scalar_type(GemmInput input) {
  switch (input) {
    case GemmInput::kBFloat16:
      return at::kBFloat16;
    case GemmInput::kFloat16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

/// A tensor as the kernels take what GEMMs read.
gpu::Operand operand(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return {tensor.data_ptr(), gpu::GemmType::kBFloat16};
    case at::kHalf:
      return {tensor.data_ptr(), gpu::GemmType::kFloat16};
    default:
      return {tensor.data_ptr(), gpu::GemmType::kFloat32};
  }
}

/// The host's numbers on their way to a GPU, through pinned memory: nobody waits.
template <class T>
at::Tensor upload(const std::vector<T>& numbers, at::ScalarType type, at::Device device) {
  at::Tensor pinned = at::empty({std::ssize(numbers)}, at::TensorOptions(type).pinned_memory(true));
  std::copy(numbers.begin(), numbers.end(), static_cast<T*>(pinned.data_ptr()));
  return pinned.to(device, /*non_blocking=*/true);
}

/// GEMMs on float32 multiply in TF32 or not while this lives.
class Float32Precision {
 public:
  explicit Float32Precision(bool tf32) : before_(at::globalContext().allowTF32CuBLAS()) {
    at::globalContext().setAllowTF32CuBLAS(tf32);
  }
  ~Float32Precision() { at::globalContext().setAllowTF32CuBLAS(before_); }
  Float32Precision(const Float32Precision&) = delete;
  Float32Precision& operator=(const Float32Precision&) = delete;

 private:
  bool before_;
};

/// On a GPU: one stream works through tiles of some ten thousand classes. The classes of a sample
/// lie in a row, the other way round than on the CPU.
class GpuHead final : public HeadSteps {
 public:
  GpuHead(const PartialFcOptions& options, CenterTable& table)
      : options_(options),
        table_(table),
        device_(options.table.device),
        tile_rows_(padded(PartialFc::tile_rows(options))),
        input_(scalar_type(options.gemm)),
        random_(options.table.seed, Stream::kRounding),
        loss_(at::zeros({}, on_gpu(at::kDouble))),
        skip_(at::zeros({1}, on_gpu(at::kFloat))) {}

  void begin(const SampledClasses& classes, const at::Tensor& valid) override {
    const at::NoGradGuard no_grad;
    static_assert(sizeof(LocalRow) == sizeof(std::int64_t));
    count_ = std::ssize(classes.rows);
    targets_ = classes.targets;
    std::vector<std::int64_t> rows(classes.rows.size());
    std::ranges::transform(classes.rows, rows.begin(), &LocalRow::v);
    rows_ = upload(rows, at::kLong, device_);
    all_targets_ = upload(targets_, at::kInt, device_);
    valid_ = valid.to(device_, /*non_blocking=*/true);
    valid_count_ = valid_.sum();
    const at::Tensor missed = table_.missed();
    missed_ = missed.defined() ? missed.pin_memory().to(device_, /*non_blocking=*/true) : missed;
    loss_ = at::zeros({}, on_gpu(at::kDouble));
    skip_.zero_();
    accumulating_ = false;
    reserve_rows();
  }

  void forward(const at::Tensor& embeddings, std::int64_t first) override {
    const at::NoGradGuard no_grad;
    embeddings_ = embeddings.contiguous();
    first_ = first;
    order_owned();
    reserve_samples();
    gpu::prepare_own_classes(table(), sampled(0, count_), embeddings_.const_data_ptr<float>(),
                             samples(), options_.margin.terms(), own(), stream());
    maximum_.fill_(-kInfinity);
    sum_.zero_();
    d_embeddings_ = at::zeros({samples(), table_.dim()}, on_gpu(at::kFloat));
    const at::Tensor x = embeddings_.to(input_);
    for_each_tile([&](std::int64_t number, const gpu::TileShape& tile) {
      cosines(tile, x);
      const at::Tensor p = probabilities(tile);
      gpu::softmax_tile(tile, logits(), own(), state(), operand(p),
                        tile_maximum_[number].data_ptr<float>(), stream());
      add_product(d_embeddings_, p, unit_.narrow(0, 0, tile.padded));
    });
  }

  void exchange(Communicator& comm) override {
    const at::NoGradGuard no_grad;
    const auto scale = static_cast<float>(options_.scale);
    const at::Tensor locals = at::empty({samples(), 3}, on_gpu(at::kFloat));
    gpu::pack_softmax(state(), own(), scale, samples(), locals.data_ptr<float>(), stream());
    all_ = comm.all_gather(locals).wait();
    world_ = comm.world();
    gpu::join_softmax(joined(), scale, stream());
    gpu::finish_embeddings(joined(), state(), own(), scale, stream());
  }

  at::Tensor loss() const override { return loss_; }
  const at::Tensor& d_embeddings() const override { return d_embeddings_; }

  void update(double lr, Pending& in_flight, const at::Tensor& skip) override {
    const at::NoGradGuard no_grad;
    if (skip.defined()) at::maximum_out(skip_, skip_, skip.view({1}));
    const CenterOptimizer& optimizer = table_.optimizer();
    const gpu::UpdateRule rule{
        .adamw = optimizer.kind == CenterOptimizer::Kind::kAdamW,
        .sgd = {static_cast<float>(lr), static_cast<float>(optimizer.momentum),
                static_cast<float>(optimizer.weight_decay)},
        .lr = lr,
        .weight_decay = optimizer.weight_decay,
        .steps_seen = missed_.defined() ? static_cast<std::int32_t>(missed_.size(0)) : 0,
        .change = static_cast<std::uint64_t>(2 * table_.steps())};
    for_each_gradient(in_flight, [&](const gpu::TileShape& tile, at::Tensor d_unit) {
      if (accumulating_) d_unit.add_(d_unit_so_far_.narrow(0, tile.begin, tile.padded));
      gpu::update_rows(table(), sampled(tile.begin, tile.count), d_unit.const_data_ptr<float>(),
                       inverse_norm_.const_data_ptr<float>() + tile.begin, rule, random_,
                       skip_.const_data_ptr<float>(), stream());
    });
    table_.end_step(lr);
  }

  void accumulate(Pending& in_flight) override {
    const at::NoGradGuard no_grad;
    const std::int64_t most = inverse_norm_.size(0);
    if (!d_unit_so_far_.defined() || d_unit_so_far_.size(0) < most)
      d_unit_so_far_ = at::empty({most, table_.dim()}, on_gpu(at::kFloat));
    for_each_gradient(in_flight, [&](const gpu::TileShape& tile, const at::Tensor& d_unit) {
      at::Tensor so_far = d_unit_so_far_.narrow(0, tile.begin, tile.padded);
      if (accumulating_) {
        so_far.add_(d_unit);
      } else {
        so_far.copy_(d_unit);
      }
    });
    accumulating_ = true;
  }

 private:
  using Keep = PartialFc::Keep;

  at::TensorOptions on_gpu(at::ScalarType type) const {
    return at::TensorOptions(device_).dtype(type);
  }
  gpu::Stream stream() const {
    return c10::cuda::getCurrentCUDAStream(device_.index()).stream();
  }
  std::int64_t samples() const { return embeddings_.size(0); }

  // What the kernels are handed.

  gpu::Table table() const { return view_of(table_, missed_); }
  gpu::SampledRows sampled(std::int64_t begin, std::int64_t count) const {
    return {rows_.const_data_ptr<std::int64_t>() + begin, count};
  }
  gpu::Logits logits() const {
    return {cosines_.const_data_ptr<float>(), static_cast<float>(options_.scale),
            options_.interclass_filter > 0 ? static_cast<float>(options_.interclass_filter)
                                           : kNoFilter};
  }
  gpu::OwnClasses own() const {
    return {all_targets_.const_data_ptr<std::int32_t>() + first_, own_phi_.data_ptr<double>(),
            own_slope_.data_ptr<double>(), d_own_sample_.data_ptr<float>(),
            d_own_center_.data_ptr<float>()};
  }
  gpu::SoftmaxState state() const {
    return {maximum_.data_ptr<float>(), sum_.data_ptr<float>(),
            d_embeddings_.defined() ? d_embeddings_.data_ptr<float>() : nullptr, table_.dim()};
  }
  gpu::JoinedSoftmax joined() const {
    return {.all = all_.const_data_ptr<float>(),
            .valid = valid_.const_data_ptr<float>() + first_,
            .count = valid_count_.const_data_ptr<float>(),
            .world = world_,
            .samples = samples(),
            .log_sum = log_sum_.data_ptr<float>(),
            .weight = weight_.data_ptr<float>(),
            .loss = loss_.data_ptr<double>(),
            .skip = skip_.data_ptr<float>()};
  }

  /// Of a step. A draw never holds more than S₀ + B rows, S₀ of which it always holds: with B to
  /// spare this is the last reservation.
  void reserve_rows() {
    const std::int64_t most = padded(count_);
    if (inverse_norm_.defined() && inverse_norm_.size(0) >= most) return;
    const std::int64_t spare = std::min(most + padded(std::ssize(targets_)),
                                        padded(table_.shard().rows()));
    inverse_norm_ = at::empty({spare}, on_gpu(at::kFloat));
    const std::int64_t tile = std::min(tile_rows_, spare);
    unit_ = at::empty({tile, table_.dim()}, on_gpu(input_));
    d_unit_ = at::empty({tile, table_.dim()}, on_gpu(at::kFloat));
    embeddings_for_ = 0;  // what follows depends on both
  }

  /// Of a micro-batch.
  void reserve_samples() {
    if (embeddings_for_ == samples()) return;
    embeddings_for_ = samples();
    const std::int64_t most = inverse_norm_.size(0), tiles = (most + tile_rows_ - 1) / tile_rows_;
    const auto each_sample = [&](at::ScalarType type) {
      return at::empty({samples()}, on_gpu(type));
    };
    maximum_ = each_sample(at::kFloat);
    sum_ = each_sample(at::kFloat);
    log_sum_ = each_sample(at::kFloat);
    weight_ = each_sample(at::kFloat);
    own_phi_ = each_sample(at::kDouble);
    own_slope_ = each_sample(at::kDouble);
    d_own_sample_ = at::empty({samples(), table_.dim()}, on_gpu(at::kFloat));
    d_own_center_ = at::empty_like(d_own_sample_);
    weighted_ = at::empty({samples(), table_.dim()}, on_gpu(input_));
    tile_maximum_ = at::empty({tiles, samples()}, on_gpu(at::kFloat));
    cosines_ = at::empty({samples() * unit_.size(0)}, on_gpu(at::kFloat));
    keep_ = PartialFc::keep(options_, most, samples());
    kept_ = at::empty({samples() * (keep_ == Keep::kNothing ? unit_.size(0) : most)},
                      on_gpu(input_));
  }

  /// The micro-batch's owned samples, by their classes.
  void order_owned() {
    const auto target = [&](std::int32_t i) {
      return targets_[static_cast<std::size_t>(first_ + i)];
    };
    std::vector<std::int32_t> order;
    for (std::int32_t i = 0; i < samples(); ++i) {
      if (target(i) >= 0) order.push_back(i);
    }
    std::ranges::stable_sort(order, {}, target);
    owned_places_.resize(order.size());
    std::ranges::transform(order, owned_places_.begin(), target);
    owned_samples_there_ = upload(order, at::kInt, device_);
    owned_places_there_ = upload(owned_places_, at::kInt, device_);
  }

  gpu::OwnedOrder owned(const gpu::TileShape& tile) const {
    const auto place = [&](std::int64_t row) {
      return std::ranges::lower_bound(owned_places_, row) - owned_places_.begin();
    };
    return {owned_samples_there_.const_data_ptr<std::int32_t>(),
            owned_places_there_.const_data_ptr<std::int32_t>(), place(tile.begin),
            place(tile.begin + tile.count)};
  }

  template <class Body>
  void for_each_tile(const Body& body) {
    const Float32Precision precision(options_.gemm == GemmInput::kTF32);
    for (std::int64_t begin = 0, number = 0; begin < count_; begin += tile_rows_, ++number) {
      const std::int64_t count = std::min(tile_rows_, count_ - begin);
      body(number, gpu::TileShape{samples(), begin, count, padded(count)});
    }
  }

  /// The unit centres of a tile, and their cosines with x [N, d].
  void cosines(const gpu::TileShape& tile, const at::Tensor& x) {
    const at::Tensor unit = unit_.narrow(0, 0, tile.padded);
    gpu::gather_normalize(table(), sampled(tile.begin, tile.count), tile.padded, operand(unit),
                          inverse_norm_.data_ptr<float>() + tile.begin, stream());
    at::Tensor z = cosines_.narrow(0, 0, samples() * tile.padded).view({samples(), tile.padded});
    product(z, x, unit.t());
  }

  /// [N, padded] where a tile's probabilities are kept.
  at::Tensor probabilities(const gpu::TileShape& tile) const {
    const std::int64_t begin = keep_ == Keep::kNothing ? 0 : tile.begin;
    return kept_.narrow(0, begin * samples(), samples() * tile.padded)
        .view({samples(), tile.padded});
  }

  /// to = a·b in float32.
  void product(at::Tensor& to, const at::Tensor& a, const at::Tensor& b) const {
    if (input_ == at::kFloat) {
      at::mm_out(to, a, b);
    } else {
      at::mm_out(to, a, b, at::kFloat);
    }
  }
  /// to += a·b in float32.
  void add_product(at::Tensor& to, const at::Tensor& a, const at::Tensor& b) const {
    if (input_ == at::kFloat) {
      to.addmm_(a, b);
    } else {
      at::addmm_out(to, to, a, b, at::kFloat);
    }
  }

  /// Calls body(tile, d_unit [padded, d]) with every tile's gradient by its unit centres.
  template <class Body>
  void for_each_gradient(Pending& in_flight, const Body& body) {
    const bool again = keep_ == Keep::kNothing;
    const at::Tensor x = again ? embeddings_.to(input_) : at::Tensor();
    const float* const embeddings = embeddings_.const_data_ptr<float>();
    if (again) weigh(embeddings, log_sum_);
    for_each_tile([&](std::int64_t number, const gpu::TileShape& tile) {
      in_flight.poll();
      const at::Tensor p = probabilities(tile);
      if (again) {
        cosines(tile, x);
        gpu::exp_tile(tile, logits(), own(), log_sum_.const_data_ptr<float>(), operand(p),
                      stream());
      } else {
        weigh(embeddings, tile_maximum_[number]);
      }
      at::Tensor d_unit = d_unit_.narrow(0, 0, tile.padded);
      product(d_unit, p.t(), weighted_);
      gpu::subtract_own(owned(tile), d_own_center_.const_data_ptr<float>(), table_.dim(),
                        tile.begin, d_unit.data_ptr<float>(), stream());
      body(tile, d_unit);
    });
  }

  void weigh(const float* embeddings, const at::Tensor& shift) const {
    gpu::weigh_embeddings(embeddings, joined(), shift.const_data_ptr<float>(), table_.dim(),
                          operand(weighted_), stream());
  }

  const PartialFcOptions& options_;
  CenterTable& table_;
  at::Device device_;
  std::int64_t tile_rows_;
  at::ScalarType input_;  ///< of GEMMs
  CounterRandom random_;

  // Of the step under way.
  std::int64_t count_ = 0;             ///< S, sampled rows
  std::vector<std::int32_t> targets_;  ///< [B] places in them
  at::Tensor rows_, all_targets_;      ///< [S] int64, [B] int32, both there
  at::Tensor valid_, valid_count_;     ///< [B], scalar
  at::Tensor missed_;                  ///< CenterTable::missed, there
  at::Tensor loss_, skip_;             ///< scalar float64; [1], not 0 where nothing is updated
  at::Tensor d_unit_so_far_;           ///< [S, d] what `accumulate` added up
  bool accumulating_ = false;

  // Of the micro-batch under way: N samples.
  std::int64_t first_ = 0, world_ = 1;
  at::Tensor embeddings_, d_embeddings_;                   ///< [N, d]
  at::Tensor all_;                                         ///< [W, N, 3] see JoinedSoftmax
  std::vector<std::int32_t> owned_places_;                 ///< ascending
  at::Tensor owned_samples_there_, owned_places_there_;

  // Kept from step to step.
  std::int64_t embeddings_for_ = 0;                        ///< N that the following are for
  Keep keep_ = Keep::kNothing;
  at::Tensor inverse_norm_;                                ///< [S]
  at::Tensor unit_, d_unit_;                               ///< [tile, d] for GEMMs; float32
  at::Tensor cosines_, kept_;                              ///< [N · tile]; [N · S] or [N · tile]
  at::Tensor tile_maximum_;                                ///< [tiles, N]
  at::Tensor maximum_, sum_, log_sum_, weight_;            ///< [N]
  at::Tensor own_phi_, own_slope_;                         ///< [N]
  at::Tensor d_own_sample_, d_own_center_, weighted_;      ///< [N, d]
};

}  // namespace

std::unique_ptr<HeadSteps> make_gpu_head(const PartialFcOptions& options, CenterTable& table) {
  return std::make_unique<GpuHead>(options, table);
}

}  // namespace pfc
