#include "pfc/head/partial_fc.h"

#include <ATen/Functions.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <string>

#include "base/ceil_divide.h"
#include "head/head_steps.h"
#include "head/table_state.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

const PartialFcOptions& checked(const PartialFcOptions& options) {
  if (options.scale <= 0) {
    throw Error("the head's scale is " + std::to_string(options.scale) +
                ", want a positive number");
  }
  if (const std::string wrong = wrong_with(options.loss); !wrong.empty()) throw Error(wrong);
  return options;
}

/// As many class centres as fill a core's second-level cache. Fewer make bad shapes for GEMMs; more
/// are read from farther away (measured: 128 to 1024 differ by 5%).
std::int64_t rows_in_cache(std::int64_t dim) {
  constexpr std::int64_t kUsualCache = 1 << 20, kMultiple = 64, kLeast = 128, kMost = 1024;
  const std::int64_t found = ::sysconf(_SC_LEVEL2_CACHE_SIZE);
  const std::int64_t cache = found > 0 ? found : kUsualCache;
  const std::int64_t rows = cache / (dim * bytes_of(NumberType::kFloat32));
  return std::clamp(rows / kMultiple * kMultiple, kLeast, kMost);
}

void require_weights(const SampledClasses& classes, const at::Tensor& valid) {
  TORCH_CHECK(valid.sizes() == at::IntArrayRef({std::ssize(classes.targets)}),
              "the head wants a weight for each of ", classes.targets.size(), " samples, got ",
              valid.sizes());
}

}  // namespace

std::int64_t sum_parts(std::int64_t samples, std::int64_t dim) {
  constexpr std::int64_t kSide = 128, kBlocks = 128;
  const std::int64_t blocks = ceil_divide(samples, kSide) * ceil_divide(dim, kSide);
  const std::int64_t parts = kBlocks / std::max<std::int64_t>(blocks, 1);
  return static_cast<std::int64_t>(std::bit_floor(
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(parts, 1, kMostSumParts))));
}

PartialFc::PartialFc(const PartialFcOptions& options, const ClassShard& shard)
    : options_(checked(options)),
      table_(shard.of_centers(centers_a_class(options.loss)), options.table),
      steps_(options.table.device.is_cuda() ? make_gpu_head(options_, table_)
                                            : make_cpu_head(options_, table_)) {}

PartialFc::~PartialFc() = default;

std::int64_t PartialFc::tile_rows(const PartialFcOptions& options, std::int64_t samples) {
  if (options.tile_rows > 0) return options.tile_rows;
  if (!options.table.device.is_cuda()) return rows_in_cache(options.table.dim);
  constexpr std::int64_t kMostRows = 1 << 14, kMostLogits = 1 << 24;
  return std::clamp<std::int64_t>(kMostLogits / std::max<std::int64_t>(samples, 1), 1, kMostRows);
}

PartialFc::Keep PartialFc::keep(const PartialFcOptions& options, std::int64_t rows,
                                std::int64_t samples) {
  const auto fits = [&](NumberType type) {
    return rows * samples * bytes_of(type) <= options.workspace_bytes;
  };
  if (options.table.device.is_cuda()) {
    const bool wide = options.gemm == GemmInput::kTF32 || options.gemm == GemmInput::kFloat32;
    if (!fits(wide ? NumberType::kFloat32 : NumberType::kBFloat16)) return Keep::kNothing;
    return wide ? Keep::kFloat32 : Keep::kBFloat16;
  }
  if (fits(NumberType::kFloat32)) return Keep::kFloat32;
  return fits(NumberType::kBFloat16) ? Keep::kBFloat16 : Keep::kNothing;
}

std::int64_t PartialFc::kept_bytes(const PartialFcOptions& options, std::int64_t rows,
                                   std::int64_t samples) {
  switch (keep(options, rows, samples)) {
    case Keep::kFloat32:
      return rows * samples * bytes_of(NumberType::kFloat32);
    case Keep::kBFloat16:
      return rows * samples * bytes_of(NumberType::kBFloat16);
    case Keep::kNothing:
      return 0;
  }
  return 0;
}

void PartialFc::begin(const SampledClasses& classes, const at::Tensor& valid) {
  require_weights(classes, valid);
  batch_ = valid.size(0);
  steps_->begin(classes, valid);
}

void PartialFc::extend(const SampledClasses& classes, const at::Tensor& valid) {
  require_weights(classes, valid);
  batch_ = valid.size(0);
  steps_->extend(classes, valid);
}

void PartialFc::prefetch(const SampledClasses& next) {
  steps_->prefetch(next);
}

CenterTable& PartialFc::settled_table() {
  steps_->settle();
  return table_;
}

void PartialFc::forward(const Embeddings& embeddings, Communicator& comm, std::int64_t first) {
  const at::Tensor& unit = embeddings.unit;
  TORCH_CHECK(unit.dim() == 2 && unit.size(1) == table_.dim() && unit.scalar_type() == at::kFloat,
              "the head wants embeddings [N, ", table_.dim(), "] float32, got ", unit.sizes(), " ",
              unit.scalar_type());
  TORCH_CHECK(first >= 0 && first + unit.size(0) <= batch_,
              "the head got the embeddings of samples ", first, " to ", first + unit.size(0) - 1,
              ", the step has ", batch_);
  if (uses_length(options_.loss)) {
    TORCH_CHECK(embeddings.lengths.defined() && embeddings.lengths.numel() == unit.size(0),
                std::string(loss_name(options_.loss)), " wants the length of each of the ",
                unit.size(0), " embeddings before they were normalised");
  }
  steps_->forward(embeddings, comm, first);
}

void PartialFc::exchange(Communicator& comm) {
  steps_->exchange(comm);
}

double PartialFc::loss() const {
  return steps_->loss().item<double>();
}
at::Tensor PartialFc::loss_tensor() const {
  return steps_->loss();
}
const at::Tensor& PartialFc::d_embeddings() const {
  return steps_->d_embeddings();
}
const at::Tensor& PartialFc::d_lengths() const {
  return steps_->d_lengths();
}
at::Tensor PartialFc::moving_numbers() const {
  return steps_->moving_numbers();
}

void PartialFc::catch_up() {
  settled_table().catch_up();
  steps_->table_changed(/*moved=*/false);
}

void PartialFc::weigh(const at::Tensor& factor, GradientsOf what) {
  TORCH_CHECK(factor.numel() == 1 && factor.scalar_type() == at::kFloat,
              "the head wants one float32 number to multiply gradients by, got ", factor.sizes(),
              " ", factor.scalar_type());
  steps_->weigh(factor, what);
}

void PartialFc::update(double lr, Pending& in_flight, const at::Tensor& skip) {
  steps_->update(lr, in_flight, skip);
}

void PartialFc::update(double lr, const at::Tensor& skip) {
  Pending nothing(at::Tensor(), nullptr, nullptr);
  steps_->update(lr, nothing, skip);
}

void PartialFc::accumulate(Pending& in_flight) {
  steps_->accumulate(in_flight);
}

void PartialFc::set_optimizer(const CenterOptimizer& optimizer) {
  TableState& table = TableState::of(table_);
  options_.table.optimizer = optimizer;
  if (table.goes_on_with(optimizer)) {
    table.options.optimizer = optimizer;
    return;
  }
  steps_->settle();
  table.change_optimizer(optimizer);
  steps_->table_changed(/*moved=*/true);
}

}  // namespace pfc
