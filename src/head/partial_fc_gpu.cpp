#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <variant>
#include <vector>

#include "base/ceil_divide.h"
#include "head/cuda_graph.h"
#include "head/gpu_table.h"
#include "head/head_steps.h"
#include "head/kernels/constant_shift.h"
#include "head/kernels/kernels_cuda.h"
#include "head/on_stream.h"
#include "head/online_softmax.h"
#include "head/staged_table.h"
#include "head/step_inputs.h"
#include "head/table_view.h"
#include "head/upload.h"
#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"

namespace pfc {
namespace {

namespace gpu = kernels::cuda;

/// Tiles have a multiple of so many rows: their parts are multiples of kWidth too, and a class's
/// centres lie in one tile.
std::int64_t tile_multiple(std::int64_t centers_a_class) {
  return std::lcm(gpu::kWidth * kMostSumParts, centers_a_class);
}

at::ScalarType gemm_type(const PartialFcOptions& options) {
  if (!options.gemm)
    return gpu_properties(options.table.device.index()).has_bfloat16 ? at::kBFloat16 : at::kHalf;
  switch (*options.gemm) {
    case GemmInput::kBFloat16:
      return at::kBFloat16;
    case GemmInput::kFloat16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

/// The shift with which the first GEMM's kernel itself makes exponentials of its cosines. Only
/// bfloat16 has the range for it, a class with several centres needs the cosines of all of them,
/// and the kernel needs a GPU of compute capability 8.0. None: LibTorch's GEMM gives the cosines,
/// and a running maximum is subtracted from them.
std::optional<float> shift_of(const PartialFcOptions& options, at::ScalarType input) {
  const c10::cuda::CUDAGuard guard(options.table.device);
  if (input != at::kBFloat16 || centers_a_class(options.loss) > 1 || !gpu::has_exponentials())
    return std::nullopt;
  return kernels::constant_shift(options.loss, options.scale);
}

/// While this lives, float32 GEMMs use TF32 or do not.
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

/// On a GPU: the passes run from graphs, over tiles of some thousand classes. Lanes, each a stream,
/// take the tiles in turn, so that the kernels of one fill the gaps between those of another. Tiles
/// cover as many rows as any step may sample, so all steps are the same launches. The classes of a
/// sample lie in a row, which is transposed compared with the CPU.
class GpuHead final : public HeadSteps {
 public:
  GpuHead(const PartialFcOptions& options, CenterTable& table)
      : options_(options),
        table_(table),
        device_(options.table.device),
        input_(gemm_type(options)),
        shift_(shift_of(options, input_)),
        random_(options.table.seed, RandomStream::kRounding),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device_.index())),
        passes_{Passes(stream_), Passes(stream_), Passes(stream_)},
        lanes_(make_lanes(device_)),
        centers_(centers_a_class(options.loss)),
        multiple_(tile_multiple(centers_)),
        moving_(at::tensor(first_moving_numbers(options.loss), on_gpu(at::kDouble))),
        inputs_(device_, centers_),
        valid_count_(at::empty({1}, on_gpu(at::kFloat))),
        worth_(at::empty({1}, on_gpu(at::kFloat))),
        skip_(at::empty({1}, on_gpu(at::kFloat))) {
    if (options.table.in_host_memory) staged_.emplace(TableState::of(table), stream_);
  }

  void begin(const SampledClasses& classes, const at::Tensor& valid) override {
    const at::NoGradGuard no_grad;
    inputs_.begin(classes);
    if (classes.drawn_in_all != drawn_in_all_)
      inverse_norm_ = at::Tensor();  // other room is needed
    drawn_in_all_ = classes.drawn_in_all;
    reserve_rows();
    if (staged_) {
      slot_ = staged_->begin(classes);
    } else {
      list_on_gpu(classes, centers_, rows_);
    }
    if (inputs_.send_missed(TableState::of(table_).history)) forget_graphs();
    begin_loss(valid, skip_);
    accumulating_ = false;
  }

  void extend(const SampledClasses& classes, const at::Tensor& valid) override {
    if (staged_) {
      throw Error(
          "class centres in host memory get the samples of a step all at once; keep them "
          "in the GPU's memory to accumulate gradients");
    }
    const at::NoGradGuard no_grad;
    const at::Tensor before = rows_.narrow(0, 0, inputs_.rows()).clone();
    inputs_.begin(classes);
    reserve_rows();
    list_on_gpu(classes, centers_, rows_);
    begin_loss(valid, /*skip=*/at::empty_like(skip_));  // what has been skipped stays so
    if (!accumulating_ || inputs_.rows() == before.size(0)) return;
    const at::Tensor places = at::searchsorted(rows_.narrow(0, 0, inputs_.rows()), before);
    const at::Tensor moved = at::zeros({inverse_norm_.size(0), table_.dim()}, on_gpu(at::kFloat));
    d_unit_so_far_ = moved.index_copy_(0, places, d_unit_so_far_.narrow(0, 0, before.size(0)));
  }

  void table_changed(bool moved) override {
    const at::NoGradGuard no_grad;
    if (inputs_.send_missed(TableState::of(table_).history) || moved) forget_graphs();
    if (staged_ && moved)
      inverse_norm_ = at::Tensor();  // the next step makes slots of the new kind
  }

  void prefetch(const SampledClasses& next) override {
    if (!staged_ || !inverse_norm_.defined() || next.drawn_in_all != drawn_in_all_ ||
        next.count() * centers_ > inverse_norm_.size(0))
      return;
    const at::NoGradGuard no_grad;
    staged_->prefetch(next);
  }

  void settle() override {
    if (staged_) staged_->drain();
  }

  void forward(const Embeddings& embeddings, Communicator& comm, std::int64_t first) override {
    const at::NoGradGuard no_grad;
    reserve_samples(embeddings.unit.size(0));
    first_ = first;
    inputs_.send_samples(first);
    const at::Tensor rows = embeddings.unit.contiguous();
    if (lengths_.defined()) lengths_.copy_(embeddings.lengths);
    on_stream(stream_, [&] {
      gpu::begin_samples(rows.const_data_ptr<float>(), samples(), state(0), kGpuLanes,
                         shift_.value_or(kNoLogit), current());
      if (own_classes_come_first()) prepare_own_classes(comm);
      passes().first.run([&] { pass1(); });
    });
  }

  void exchange(Communicator& comm) override {
    const at::NoGradGuard no_grad;
    all_ = comm.all_gather(locals_).wait();
    world_ = comm.world();
    d_embeddings_ = at::empty({samples_, table_.dim()}, on_gpu(at::kFloat));
    if (has_length_gradient(options_.loss)) d_lengths_ = at::empty({samples_}, on_gpu(at::kFloat));
    gpu::join_softmax(joined(), state(0), own(), scale(), d_embeddings_.data_ptr<float>(),
                      current());
  }

  at::Tensor loss() const override { return loss_; }
  const at::Tensor& d_embeddings() const override { return d_embeddings_; }
  const at::Tensor& d_lengths() const override { return d_lengths_; }
  at::Tensor moving_numbers() const override { return moving_; }

  void weigh(const at::Tensor& factor, PartialFc::GradientsOf what) override {
    const at::NoGradGuard no_grad;
    if (what == PartialFc::GradientsOf::kMicroBatch) {
      worth_.mul_(factor);
    } else if (accumulating_) {
      d_unit_so_far_.mul_(factor);
    }
  }

  void update(double lr, Pending& in_flight, const at::Tensor& skip) override {
    const at::NoGradGuard no_grad;
    if (skip.defined()) at::maximum_out(skip_, skip_, skip.view({1}));
    inputs_.send_rule(TableState::of(table_), lr);
    in_flight.poll();
    on_stream(stream_, [&] {
      if (accumulating_) {
        pass2(/*last=*/true);
      } else {
        passes().second.run([&] { pass2(/*last=*/true); });
      }
    });
    if (staged_) {
      staged_->end();
      if (TableState::of(table_).next_step_catches_up()) staged_->drain();
    }
    TableState::of(table_).end_step(lr);
  }

  void accumulate(Pending& in_flight) override {
    const at::NoGradGuard no_grad;
    const std::int64_t most = inverse_norm_.size(0);
    if (!accumulating_ && (!d_unit_so_far_.defined() || d_unit_so_far_.size(0) < most))
      d_unit_so_far_ = at::empty({most, table_.dim()}, on_gpu(at::kFloat));
    in_flight.poll();
    on_stream(stream_, [&] { pass2(/*last=*/false); });
    accumulating_ = true;
  }

 private:
  using Keep = PartialFc::Keep;

  /// Processes one tile after another.
  struct Lane {
    std::int64_t number;
    c10::cuda::CUDAStream stream;
    at::Tensor unit = {}, d_unit = {};    ///< [tile, d] for GEMMs; float32
    at::Tensor cosines = {}, again = {};  ///< [N · tile] or none; probabilities that are not kept
    at::Tensor weighted = {};             ///< [N, d], one of all lanes with a constant shift
  };
  static std::vector<Lane> make_lanes(at::Device device) {
    std::vector<Lane> lanes;
    lanes.reserve(kGpuLanes);
    for (int i = 0; i < kGpuLanes; ++i)
      lanes.push_back({i, c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())});
    return lanes;
  }

  /// Recorded for the addresses of one slot.
  struct Passes {
    CudaGraph first, second;
    explicit Passes(const c10::cuda::CUDAStream& stream) : first(stream), second(stream) {}
  };

  at::TensorOptions on_gpu(at::ScalarType type) const {
    return at::TensorOptions(device_).dtype(type);
  }
  /// The stream that work is put on.
  gpu::Stream current() const { return c10::cuda::getCurrentCUDAStream(device_.index()).stream(); }

  /// skip [1] becomes 0.
  void begin_loss(const at::Tensor& valid, const at::Tensor& skip) {
    valid_ = valid.to(device_, /*non_blocking=*/true);
    loss_ = at::empty({}, on_gpu(at::kDouble));
    gpu::begin_loss(valid_.const_data_ptr<float>(), valid_.size(0), valid_count_.data_ptr<float>(),
                    loss_.data_ptr<double>(), skip.data_ptr<float>(), current());
  }

  // ---- The passes

  /// Whether the tiles, or the loss's numbers, need the samples' own cosines. They are made beside
  /// the tiles otherwise.
  bool own_classes_come_first() const {
    return std::visit(
        []<class L>(const L&) { return kLossMoves<L> || kLossBends<L> || kLossSharesCosines<L>; },
        options_.loss);
  }

  /// Whether every rank must know the own cosines of all samples.
  bool shares_cosines() const {
    return std::visit([]<class L>(const L&) { return kLossSharesCosines<L>; }, options_.loss);
  }

  void own_cosines() { gpu::own_cosines(table(), sampled(0, 0), samples(), own(), current()); }

  void prepare_own_classes(Communicator& comm) {
    own_cosines();
    if (shares_cosines()) {
      shared_cosines_.copy_(own_cosine_);  // a sample has one owner: sums with zeros are exact
      comm.all_reduce(shared_cosines_).wait();
    }
    gpu::follow_batch(options_.loss, loss_state(), current());
    gpu::apply_loss(options_.loss, loss_state(), own(), current());
  }

  void pass1() {
    const Float32Precision precision(options_.gemm == GemmInput::kTF32);
    const auto own_classes = [&] {
      if (!own_classes_come_first()) {
        own_cosines();
        gpu::apply_loss(options_.loss, loss_state(), own(), current());
      }
      owned_first_.fill_(-1);
      gpu::find_owned(owned(), inputs_.scalars(), samples_, current());
    };
    for_each_tile(own_classes, [&](Lane& lane, std::int64_t number, const gpu::TileShape& tile) {
      const at::Tensor p = probabilities(lane, tile);
      if (shift_) {
        exponentials(lane, tile, p, state(lane.number).sum);
      } else {
        cosines(lane, tile);
        gpu::softmax_tile(tile, options_.loss, logits(lane), own().targets, state(lane.number),
                          operand(p), maximum_of(number), current());
      }
      at::Tensor sums = sums_[lane.number];
      add_sums(sums, p, lane.unit.narrow(0, 0, tile.classes.size), /*begin=*/number < kGpuLanes);
    });
    gpu::merge_softmax(state(0), std::min<std::int64_t>(tiles(), kGpuLanes), own(), scale(),
                       locals_.data_ptr<double>(), current());
  }

  /// The gradients of a tile's centres. They are added up or, in the last micro-batch, go with the
  /// accumulated sum into the update.
  void pass2(bool last) {
    const Float32Precision precision(options_.gemm == GemmInput::kTF32);
    const bool again = keep_ == Keep::kNothing;
    const auto nothing = [] {};
    if (shift_) weigh_embeddings(lanes_.front(), state(0).maximum, nullptr);
    for_each_tile(nothing, [&](Lane& lane, std::int64_t number, const gpu::TileShape& tile) {
      const at::Tensor p = probabilities(lane, tile);
      if (shift_) {
        if (again) exponentials(lane, tile, p, nullptr);
      } else {
        const float* const maximum = maximum_of(number);
        if (again) {
          cosines(lane, tile);
          gpu::exp_tile(tile, options_.loss, logits(lane), own().targets, maximum, operand(p),
                        current());
        }
        weigh_embeddings(lane, maximum,
                         number < kGpuLanes ? nullptr : maximum_of(number - kGpuLanes));
      }
      at::Tensor d_unit = lane.d_unit.narrow(0, 0, tile.classes.size);
      product(d_unit, p.t(), lane.weighted);
      const gpu::CenterGradients gradients = {
          .d_unit = d_unit.const_data_ptr<float>(),
          .owned = owned(),
          .d_center = d_own_center_.const_data_ptr<float>(),
          .so_far = accumulating_ ? so_far(tile) : nullptr,
          .worth = worth_.const_data_ptr<float>(),
          .inverse_norm = inverse_norm_.const_data_ptr<float>() + tile.classes.begin};
      if (!last) {
        gpu::sum_gradients(tile.classes, gradients, table_.dim(), so_far(tile), current());
        return;
      }
      gpu::update_rows(table(), tile.classes, table_.optimizer().kind, gradients, random_,
                       skip_.const_data_ptr<float>(), current());
    });
  }

  std::int64_t tiles() const { return ceil_divide(inverse_norm_.size(0), tile_rows()); }
  std::int64_t tile_rows() const { return lanes_.front().unit.size(0); }

  /// Calls body(lane, number, tile) for every tile on the lane's stream, and `beside` on the
  /// head's.
  template <class Beside, class Body>
  void for_each_tile(const Beside& beside, const Body& body) {
    c10::Event begun(at::kCUDA);
    begun.record(stream_.unwrap());
    for (const Lane& lane : lanes_) begun.block(lane.stream.unwrap());
    beside();
    const std::int64_t rows = inverse_norm_.size(0);
    for (std::int64_t begin = 0, number = 0; begin < rows; begin += tile_rows(), ++number) {
      Lane& lane = lanes_[static_cast<std::size_t>(number) % lanes_.size()];
      const c10::cuda::CUDAStreamGuard on_lane(lane.stream);
      const std::int64_t size = std::min(tile_rows(), rows - begin);
      body(lane, number, gpu::TileShape{samples_, sampled(begin, size)});
    }
    for (const Lane& lane : lanes_) {
      c10::Event done(at::kCUDA);
      done.record(lane.stream.unwrap());
      done.block(stream_.unwrap());
    }
  }

  /// The unit centres of a tile.
  at::Tensor gather(const Lane& lane, const gpu::TileShape& tile) {
    const at::Tensor unit = lane.unit.narrow(0, 0, tile.classes.size);
    gpu::gather_normalize(table(), tile.classes, operand(unit),
                          inverse_norm_.data_ptr<float>() + tile.classes.begin, current());
    return unit;
  }

  /// They, and the exponentials of their logits.
  void exponentials(Lane& lane, const gpu::TileShape& tile, const at::Tensor& p, double* sums) {
    const at::Tensor unit = gather(lane, tile);
    gpu::exponentials(tile, options_.loss, logits(lane), *shift_,
                      {x_.const_data_ptr(), unit.const_data_ptr(), table_.dim()}, own().targets,
                      sums, p.data_ptr(), current());
  }

  /// They, and their cosines.
  void cosines(Lane& lane, const gpu::TileShape& tile) {
    const std::int64_t size = tile.classes.size;
    const at::Tensor unit = gather(lane, tile);
    at::Tensor z = lane.cosines.narrow(0, 0, samples_ * size).view({samples_, size});
    product(z, x_, unit.t());
    if (centers_ > 1) gpu::keep_nearest(tile, logits(lane), current());
  }

  /// [N, size] where a tile's probabilities are kept.
  at::Tensor probabilities(const Lane& lane, const gpu::TileShape& tile) const {
    const bool again = keep_ == Keep::kNothing;
    const std::int64_t begin = again ? 0 : tile.classes.begin, size = tile.classes.size;
    const at::Tensor& where = again ? lane.again : kept_;
    return where.narrow(0, begin * samples_, samples_ * size).view({samples_, size});
  }

  void weigh_embeddings(const Lane& lane, const float* maximum, const float* before) {
    gpu::weigh_embeddings(samples(), joined(), maximum, before, table_.dim(),
                          operand(lane.weighted), current());
  }

  float* so_far(const gpu::TileShape& tile) const {
    return d_unit_so_far_.data_ptr<float>() + tile.classes.begin * table_.dim();
  }
  /// [N] see gpu::softmax_tile.
  float* maximum_of(std::int64_t tile) const {
    return tile_maximum_.data_ptr<float>() + tile * samples_;
  }

  /// to = a·b in float32.
  void product(at::Tensor& to, const at::Tensor& a, const at::Tensor& b) const {
    if (input_ == at::kFloat) {
      at::mm_out(to, a, b);
    } else {
      at::mm_out(to, a, b, at::kFloat);
    }
  }
  /// to [parts, N, d] += p [N, size] · unit [size, d] in float32, or = if `begin`; the classes of
  /// each part go into its own sum.
  void add_sums(at::Tensor& to, const at::Tensor& p, const at::Tensor& unit, bool begin) const {
    const std::int64_t parts = to.size(0);
    const at::Tensor a = p.view({p.size(0), parts, -1}).transpose(0, 1),
                     b = unit.view({parts, -1, unit.size(1)});
    if (input_ == at::kFloat) {
      to.baddbmm_(a, b, begin ? 0 : 1);
    } else {
      at::baddbmm_out(to, to, a, b, at::kFloat, begin ? 0 : 1);
    }
  }

  // ---- What the kernels are handed

  gpu::Table table() const {
    return staged_ ? staged_->part(slot_, inputs_.missed())
                   : view_of(TableState::of(table_), inputs_.missed());
  }
  Passes& passes() { return passes_[static_cast<std::size_t>(slot_)]; }
  gpu::SampledRows sampled(std::int64_t begin, std::int64_t size) const {
    return {rows_.const_data_ptr<std::int64_t>(), inputs_.scalars(), begin, size};
  }
  gpu::Logits logits(const Lane& lane) const {
    return {.cosines = lane.cosines.data_ptr<float>(),
            .scale = scale(),
            .filter = options_.filter(),
            .centers = centers_,
            .bounds = bounds_.const_data_ptr<float>(),
            .moving = moving_.const_data_ptr<double>()};
  }
  gpu::OwnClasses own() const {
    return {.targets = inputs_.targets(),
            .centers = centers_,
            .nearest = own_nearest_.data_ptr<std::int32_t>(),
            .cosine = own_cosine_.data_ptr<double>(),
            .phi = own_phi_.data_ptr<double>(),
            .slope = own_slope_.data_ptr<double>(),
            .by_length = own_by_length_.data_ptr<double>(),
            .d_sample = d_own_sample_.data_ptr<float>(),
            .d_center = d_own_center_.data_ptr<float>()};
  }
  gpu::LossState loss_state() const {
    return {.samples = samples_,
            .cosines = (shares_cosines() ? shared_cosines_ : own_cosine_).const_data_ptr<double>(),
            .lengths = lengths_.defined() ? lengths_.const_data_ptr<float>() : nullptr,
            .valid = valid_.const_data_ptr<float>() + first_,
            .step = inputs_.scalars(),
            .random = CounterRandom(options_.table.seed, RandomStream::kLoss),
            .moving = moving_.data_ptr<double>(),
            .bounds = bounds_.data_ptr<float>(),
            .penalties = penalties()};
  }
  /// [N], of a loss that has them.
  LossTerm* penalties() const {
    return penalties_.defined() ? static_cast<LossTerm*>(penalties_.data_ptr()) : nullptr;
  }
  gpu::Samples samples() const { return {embeddings_.data_ptr<float>(), operand(x_), samples_}; }
  gpu::OwnedOrder owned() const {
    return {inputs_.owned_samples(), inputs_.owned_places(), owned_first_.data_ptr<std::int32_t>(),
            centers_, own_nearest_.const_data_ptr<std::int32_t>()};
  }
  gpu::SoftmaxState state(std::int64_t lane) const {
    return {.maximum = maximum_.data_ptr<float>() + lane * samples_,
            .sum = sum_[lane].data_ptr<double>(),
            .d_embeddings = sums_[lane].data_ptr<float>(),
            .parts = sums_.size(1),
            .samples = samples_,
            .dim = table_.dim(),
            .sums = sum_.size(1)};
  }
  float scale() const { return static_cast<float>(options_.scale); }
  gpu::JoinedSoftmax joined() const {
    return {.all = all_.defined() ? all_.const_data_ptr<double>() : nullptr,
            .valid = valid_.const_data_ptr<float>() + first_,
            .count = valid_count_.const_data_ptr<float>(),
            .world = world_,
            .samples = samples_,
            .log_sum = log_sum_.data_ptr<double>(),
            .losses = losses_.data_ptr<double>(),
            .worth = worth_.data_ptr<float>(),
            .loss = loss_.data_ptr<double>(),
            .skip = skip_.data_ptr<float>(),
            .penalties = penalties(),
            .d_lengths = d_lengths_.defined() ? d_lengths_.data_ptr<float>() : nullptr};
  }

  // ---- What is kept from step to step

  std::int64_t padded(std::int64_t rows) const { return ceil_divide(rows, multiple_) * multiple_; }

  /// For as many rows as any step of this sample rate may have; a draw has S₀ to S₀ + B.
  void reserve_rows() {
    const std::int64_t needed = padded(inputs_.rows());
    if (inverse_norm_.defined() && inverse_norm_.size(0) >= needed) return;
    const std::int64_t all = table_.shard().rows();
    const std::int64_t most = padded(std::min(inputs_.rows() + inputs_.batch() * centers_, all));
    kept_ = at::Tensor();  // its memory is free for what takes its place
    // Of a table in host memory a slot holds the step's rows one after another.
    rows_ = at::arange(most, on_gpu(at::kLong));
    inverse_norm_ = at::empty({most}, on_gpu(at::kFloat));
    owned_first_ = at::empty({most}, on_gpu(at::kInt));
    if (staged_) staged_->reserve(most);
    samples_ = 0;  // buffers for samples depend on it
  }

  /// For micro-batches with this many samples.
  void reserve_samples(std::int64_t samples) {
    if (samples_ == samples) return;
    samples_ = samples;
    inputs_.reserve(samples);
    forget_graphs();
    const std::int64_t most = inverse_norm_.size(0);
    const std::int64_t tile = std::min({padded(PartialFc::tile_rows(options_, samples)),
                                        gpu::kMostColumns / multiple_ * multiple_, most});
    const auto of_samples = [&](at::ScalarType type) { return at::empty({samples}, on_gpu(type)); };
    const auto of_embeddings = [&](at::ScalarType type) {
      return at::empty({samples, table_.dim()}, on_gpu(type));
    };
    keep_ = PartialFc::keep(options_, most, samples);
    const bool again = keep_ == Keep::kNothing;
    kept_ = at::empty({again ? 0 : samples * most}, on_gpu(input_));
    for (Lane& lane : lanes_) {
      lane.unit = at::empty({tile, table_.dim()}, on_gpu(input_));
      lane.d_unit = at::empty_like(lane.unit, on_gpu(at::kFloat));
      lane.cosines = at::empty({shift_ ? 0 : samples * tile}, on_gpu(at::kFloat));
      lane.again = at::empty({again ? samples * tile : 0}, on_gpu(input_));
      const bool is_shared = shift_ && lane.number > 0;  // there is one maximum
      lane.weighted = is_shared ? lanes_.front().weighted : of_embeddings(input_);
    }
    maximum_ = at::empty({kGpuLanes, samples}, on_gpu(at::kFloat));
    sum_ = at::empty({kGpuLanes, shift_ ? gpu::exponential_sums(tile) : 1, samples},
                     on_gpu(at::kDouble));
    sums_ = at::empty({kGpuLanes, sum_parts(samples, table_.dim()), samples, table_.dim()},
                      on_gpu(at::kFloat));
    locals_ = at::empty({samples, 3}, on_gpu(at::kDouble));
    tile_maximum_ = at::empty({shift_ ? 0 : tiles(), samples}, on_gpu(at::kFloat));
    log_sum_ = of_samples(at::kDouble);
    losses_ = of_samples(at::kDouble);
    own_phi_ = of_samples(at::kDouble);
    own_slope_ = of_samples(at::kDouble);
    own_by_length_ = of_samples(at::kDouble);
    own_cosine_ = of_samples(at::kDouble);
    own_nearest_ = of_samples(at::kInt);
    shared_cosines_ = of_samples(at::kDouble);
    bounds_ = of_samples(at::kFloat);
    if (uses_length(options_.loss)) lengths_ = of_samples(at::kFloat);
    if (has_length_gradient(options_.loss))
      penalties_ = at::empty({samples, 2}, on_gpu(at::kDouble));  // LossTerm
    embeddings_ = of_embeddings(at::kFloat);
    x_ = of_embeddings(input_);
    d_own_sample_ = of_embeddings(at::kFloat);
    d_own_center_ = of_embeddings(at::kFloat);
  }

  void forget_graphs() {
    for (Passes& recorded : passes_) {
      recorded.first.forget();
      recorded.second.forget();
    }
  }

  const PartialFcOptions& options_;
  CenterTable& table_;
  at::Device device_;
  at::ScalarType input_;        ///< of GEMMs
  std::optional<float> shift_;  ///< see shift_of
  CounterRandom random_;
  c10::cuda::CUDAStream stream_;
  std::optional<StagedTable> staged_;  ///< for a table in host memory
  int slot_ = 0;                       ///< the slot with the step's rows
  std::array<Passes, StagingDevice::kSlots> passes_;
  std::vector<Lane> lanes_;

  std::int64_t centers_;   ///< K, rows that a class has
  std::int64_t multiple_;  ///< of rows that a tile has
  at::Tensor moving_;      ///< the loss's numbers, in the order of its Moving

  // For the current step.
  StepInputs inputs_;
  at::Tensor valid_, valid_count_;  ///< [B], [1]
  at::Tensor worth_;                ///< [1] see gpu::CenterGradients
  at::Tensor loss_, skip_;          ///< scalar float64; [1], not 0 if nothing may be updated
  at::Tensor d_unit_so_far_;        ///< [S, d] the sum of `accumulate`
  bool accumulating_ = false;
  std::int64_t drawn_in_all_ = 0;  ///< its S₀

  // For the current micro-batch.
  std::int64_t first_ = 0, world_ = 1;
  at::Tensor d_embeddings_;  ///< [N, d]
  at::Tensor d_lengths_;     ///< [N] of a loss that has a gradient by them
  at::Tensor all_;           ///< [W, N, 3] see JoinedSoftmax

  // Kept from step to step: at most S rows, N samples.
  std::int64_t samples_ = 0;
  Keep keep_ = Keep::kNothing;
  at::Tensor rows_, inverse_norm_;          ///< [S]
  at::Tensor owned_first_;                  ///< [S] see gpu::OwnedOrder
  at::Tensor kept_;                         ///< [N · S], or empty
  at::Tensor tile_maximum_;                 ///< [tiles, N] where there is no constant shift
  at::Tensor maximum_, sum_, sums_;         ///< see SoftmaxState, [lanes, …]
  at::Tensor locals_;                       ///< [N, 3] see gpu::merge_softmax
  at::Tensor log_sum_, losses_;             ///< [N]
  at::Tensor own_phi_, own_slope_;          ///< [N]
  at::Tensor own_by_length_, own_cosine_;   ///< [N] see OwnClasses
  at::Tensor own_nearest_;                  ///< [N]
  at::Tensor shared_cosines_, bounds_;      ///< [N] see LossState
  at::Tensor lengths_, penalties_;          ///< [N], [N, 2]; of a loss that has them
  at::Tensor embeddings_, x_;               ///< [N, d]
  at::Tensor d_own_sample_, d_own_center_;  ///< [N, d]
};

}  // namespace

std::unique_ptr<HeadSteps> make_gpu_head(const PartialFcOptions& options, CenterTable& table) {
  return std::make_unique<GpuHead>(options, table);
}

}  // namespace pfc
