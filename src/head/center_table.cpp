#include "pfc/head/center_table.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <sys/mman.h>

#include <array>
#include <string>
#include <utility>

#include "head/gpu_table.h"
#include "head/kernels/kernels.h"
#include "head/kernels/kernels_cuda.h"
#include "head/skipped_steps.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

constexpr std::int64_t kRowsAThread = 64;  // fewer are not worth waking one
/// Steps that a table brings its rows through one by one; more, and all rows are caught up at once.
/// It bounds what a step spends on the products to half a millisecond.
constexpr std::int64_t kMostSkipped = 1 << 15;

bool is_dense(const CenterTableOptions& options) {
  return options.optimizer.rule == CenterOptimizer::Rule::kDenseEquivalent;
}

bool lies_on_gpu(const CenterTableOptions& options) {
  return options.device.is_cuda() && !options.in_host_memory;
}

const CenterTableOptions& checked(const CenterTableOptions& options, const ClassShard& shard) {
  if (options.dim <= 0) {
    throw Error("the embedding size is " + std::to_string(options.dim) +
                ", want a positive number");
  }
  if (options.device.is_cuda() && options.dim % kernels::cuda::kWidth != 0) {
    throw Error("the embedding size is " + std::to_string(options.dim) +
                ", on a GPU it must be a multiple of " + std::to_string(kernels::cuda::kWidth));
  }
  if (is_dense(options) && !kernels::catches_up(options.optimizer)) {
    throw Error(
        "the dense_equivalent update of centres is SGD's: what another optimizer does to a row "
        "without a gradient has no closed form; use the sampled update");
  }
  if (shard.rows() == 0)
    throw Error("a rank would own no class: use at most as many ranks as there are identities");
  return options;
}

at::ScalarType scalar_type(NumberType type) {
  return type == NumberType::kFloat32 ? at::kFloat : at::kBFloat16;
}

/// What the rounding of a row draws from. `change` numbers what happens to the table.
kernels::RoundingKey rounding_key(const CounterRandom& random, GlobalClass c, std::int64_t change) {
  const auto words =
      random.words(static_cast<std::uint64_t>(c.v), static_cast<std::uint64_t>(change));
  return {words[0], words[1]};
}

/// Asks for the memory of a row while another one is worked on: rows lie far apart, and the
/// processor guesses a row's second half only once it has met the first.
void prefetch(const kernels::Row& row, std::int64_t dim) {
  constexpr std::int64_t kLine = 64;
  const auto* const bytes = static_cast<const char*>(row.data);
  const std::int64_t size = bytes == nullptr ? 0 : dim * bytes_of(row.type);
  for (std::int64_t at = 0; at < size; at += kLine) __builtin_prefetch(bytes + at);
}

}  // namespace

std::int64_t bytes_a_row(const CenterTableOptions& options) {
  const std::int64_t states = std::ssize(kernels::states_of(options.optimizer));
  const std::int64_t counts = kernels::counts_updates(options.optimizer) + is_dense(options);
  return options.dim * (bytes_of(options.weights) + states * bytes_of(options.state)) +
         counts * std::int64_t{sizeof(std::int32_t)};
}

/// One reservation of zeroed memory; for a GPU whose table lies in the host's, pinned.
class CenterTable::Memory {
 public:
  Memory(std::int64_t bytes, const CenterTableOptions& options) : bytes_(bytes) {
    if (lies_on_gpu(options)) {
      on_gpu_ = reserve_on_gpu(bytes, options.device);
      return;
    }
    // In huge pages where the system offers them: a step touches rows all over the table, and with
    // small pages each row would cost a walk of the page table.
    void* address = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      throw Error("cannot reserve " + counted(bytes, "byte") +
                  " for the class centres; use more ranks");
    }
    ::madvise(address, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // advice: small ones serve
    on_host_.reset(static_cast<std::byte*>(address), Unmap{static_cast<std::size_t>(bytes)});
    if (options.device.is_cuda()) pinned_ = pin_for_gpus(on_host_.get(), bytes);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::int64_t bytes() const { return bytes_; }

  /// The next part of it.
  at::Tensor take(at::IntArrayRef shape, at::ScalarType type) {
    const auto size =
        static_cast<std::int64_t>(c10::multiply_integers(shape) * c10::elementSize(type));
    const std::int64_t begin = taken_;
    taken_ += size;
    if (on_gpu_.defined()) return on_gpu_.narrow(0, begin, size).view(type).view(shape);
    return at::from_blob(on_host_.get() + begin, shape, type);
  }

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(std::byte* at) const { ::munmap(at, bytes); }
  };

  std::int64_t bytes_, taken_ = 0;
  std::shared_ptr<std::byte> on_host_;
  std::shared_ptr<void> pinned_;  ///< as long as this lives
  at::Tensor on_gpu_;             ///< [bytes]
};

/// Which steps each row has been through.
struct CenterTable::History {
  SkippedSteps skipped;
  at::Tensor seen;  ///< [rows] int32: steps, of those in `skipped`, that the row has been through

  History(const CenterOptimizer& optimizer, at::Tensor none_seen)
      : skipped(optimizer), seen(std::move(none_seen)) {}

  kernels::CatchUp missed(LocalRow row) const {
    return skipped.since(seen.const_data_ptr<std::int32_t>()[row.v]);
  }
};

/// A table of numbers as rows for the kernels.
class CenterTable::Rows {
 public:
  Rows() = default;
  explicit Rows(const at::Tensor& numbers)
      : data_(static_cast<std::byte*>(numbers.data_ptr())),
        stride_(static_cast<std::int64_t>(numbers.element_size()) * numbers.size(1)),
        type_(numbers.scalar_type() == at::kBFloat16 ? NumberType::kBFloat16
                                                     : NumberType::kFloat32) {}
  kernels::Row operator[](LocalRow row) const {
    return {data_ == nullptr ? nullptr : data_ + row.v * stride_, type_};
  }

 private:
  std::byte* data_ = nullptr;
  std::int64_t stride_ = 0;
  NumberType type_ = NumberType::kFloat32;
};

/// All that a row has.
class CenterTable::WholeRows {
 public:
  explicit WholeRows(const CenterTable& table)
      : w_(table.weights_), history_(table.history_.get()) {
    for (std::size_t i = 0; i < table.states_.size(); ++i) states_[i] = Rows(table.states_[i]);
  }
  kernels::TableRow operator[](LocalRow row) const {
    kernels::TableRow whole{.w = w_[row]};
    for (std::size_t i = 0; i < states_.size(); ++i) whole.states[i] = states_[i][row];
    return whole;
  }
  /// With the steps that it missed.
  kernels::TableRow caught_up(LocalRow row) const {
    kernels::TableRow whole = (*this)[row];
    if (history_ != nullptr) whole.missed = history_->missed(row);
    return whole;
  }

 private:
  Rows w_;
  std::array<Rows, kernels::kMostStates> states_;
  const History* history_;
};

CenterTable::CenterTable(const ClassShard& shard, const CenterTableOptions& options)
    : shard_(shard), options_(checked(options, shard)) {
  const std::int64_t rows = shard.rows(), dim = options.dim;
  memory_ = std::make_unique<Memory>(rows * bytes_a_row(options), options);
  weights_ = memory_->take({rows, dim}, scalar_type(options.weights));
  for (std::size_t i = 0; i < kernels::states_of(options.optimizer).size(); ++i)
    states_.push_back(memory_->take({rows, dim}, scalar_type(options.state)));
  if (kernels::counts_updates(options.optimizer)) updates_ = memory_->take({rows}, at::kInt);
  if (is_dense(options)) {
    history_ = std::make_unique<History>(options.optimizer, memory_->take({rows}, at::kInt));
  }

  if (lies_on_gpu(options)) {
    on_gpu_ = make_gpu_table(*this, options.seed);
    on_gpu_->fill_normal(kInitialDeviation);
    return;
  }
  // Zeros are written too, though the memory has them already: where it cannot all be had, that is
  // to show here and not in a later step.
  const CounterRandom random(options.seed, RandomStream::kCentreInit);
  const Rows w(weights_);
  at::parallel_for(0, rows, kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (LocalRow row{begin}; row.v < end; ++row.v) {
      kernels::fill_normal(w[row], dim, kInitialDeviation, random,
                           static_cast<std::uint64_t>(shard_.global(row).v));
    }
    for (const at::Tensor& state : states_) state.narrow(0, begin, end - begin).zero_();
  });
}

CenterTable::~CenterTable() = default;

std::int64_t CenterTable::bytes() const {
  return memory_->bytes();
}

void CenterTable::gather_normalize(std::span<const LocalRow> rows, const at::Tensor& unit,
                                   const at::Tensor& inverse_norm) const {
  const WholeRows table(*this);
  float* out = unit.data_ptr<float>();
  float* inverse = inverse_norm.data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i, out += options_.dim, ++inverse) {
    if (i + 1 < rows.size()) {
      const kernels::TableRow next = table[rows[i + 1]];
      prefetch(next.w, options_.dim);
      if (history_) prefetch(next.states[0], options_.dim);
    }
    kernels::Row from = table[rows[i]].w;
    if (history_) {
      kernels::read_row(table.caught_up(rows[i]), options_.dim, out);
      from = {out, NumberType::kFloat32};
    }
    *inverse = kernels::normalize_row(from, options_.dim, out);
  }
}

void CenterTable::update(std::span<const LocalRow> rows, const at::Tensor& d_unit,
                         const at::Tensor& inverse_norm, double lr) {
  const CounterRandom random(options_.seed, RandomStream::kRounding);
  const WholeRows table(*this);
  kernels::RowUpdate update = {.optimizer = options_.optimizer, .lr = lr};
  const float* gradient = d_unit.const_data_ptr<float>();
  const float* inverse = inverse_norm.const_data_ptr<float>();
  for (std::size_t i = 0; i < rows.size(); ++i, gradient += options_.dim, ++inverse) {
    if (i + 1 < rows.size()) {
      const kernels::TableRow next = table[rows[i + 1]];
      prefetch(next.w, options_.dim);
      for (const kernels::Row& state : next.states) prefetch(state, options_.dim);
    }
    const LocalRow row = rows[i];
    update.key = rounding_key(random, shard_.global(row), 2 * steps_);
    if (updates_.defined()) update.number = ++updates_.data_ptr<std::int32_t>()[row.v];
    kernels::update_row(table.caught_up(row), update, gradient, *inverse, options_.dim);
    if (history_) {
      history_->seen.data_ptr<std::int32_t>()[row.v] =
          static_cast<std::int32_t>(history_->skipped.size() + 1);
    }
  }
}

void CenterTable::end_step(double lr) {
  ++steps_;
  if (!history_) return;
  history_->skipped.push(lr);
  if (history_->skipped.size() == kMostSkipped) catch_up();
}

bool CenterTable::next_step_catches_up() const {
  return history_ && history_->skipped.size() + 1 == kMostSkipped;
}

void CenterTable::catch_up() {
  if (!history_) return;
  if (on_gpu_) {
    on_gpu_->catch_up();
  } else {
    catch_up_in_host_memory();
  }
  history_->seen.zero_();
  history_->skipped.clear();
}

void CenterTable::catch_up_in_host_memory() {
  const CounterRandom random(options_.seed, RandomStream::kRounding);
  const WholeRows table(*this);
  at::parallel_for(0, shard_.rows(), kRowsAThread, [&](std::int64_t begin, std::int64_t end) {
    for (LocalRow row{begin}; row.v < end; ++row.v) {
      kernels::catch_up_row(table.caught_up(row), options_.dim,
                            rounding_key(random, shard_.global(row), 2 * steps_ + 1));
    }
  });
}

at::Tensor CenterTable::missed() const {
  if (!history_) return {};
  const std::int64_t steps = history_->skipped.size();
  at::Tensor maps = at::empty({steps + 1, 4}, at::kFloat);
  auto* const to = reinterpret_cast<kernels::CatchUp*>(maps.data_ptr<float>());
  for (std::int64_t i = 0; i <= steps; ++i) to[i] = history_->skipped.since(i);
  return maps;
}

at::Tensor CenterTable::steps_seen() const {
  return history_ ? history_->seen : at::Tensor();
}

std::vector<std::pair<std::string, at::Tensor>> CenterTable::parts() const {
  std::vector<std::pair<std::string, at::Tensor>> parts = {{"centers", weights_}};
  const std::span<const char* const> names = kernels::states_of(options_.optimizer);
  for (std::size_t i = 0; i < states_.size(); ++i) parts.emplace_back(names[i], states_[i]);
  if (updates_.defined()) parts.emplace_back("updates", updates_);
  if (history_) parts.emplace_back("steps_seen", history_->seen);
  return parts;
}

std::span<const double> CenterTable::learning_rates() const {
  return history_ ? history_->skipped.learning_rates() : std::span<const double>();
}

void CenterTable::resume(std::int64_t steps, const MissedSteps& missed) {
  steps_ = steps;
  if (!history_) return;
  const CenterOptimizer& now = options_.optimizer;
  CenterOptimizer then = now;
  then.momentum = missed.momentum;
  then.weight_decay = missed.weight_decay;
  history_->skipped = SkippedSteps(then);
  for (const double lr : missed.learning_rates) history_->skipped.push(lr);
  if (missed.momentum == now.momentum && missed.weight_decay == now.weight_decay) return;
  catch_up();
  history_->skipped = SkippedSteps(now);
}

at::Tensor CenterTable::rows(std::span<const LocalRow> rows) const {
  if (on_gpu_) return on_gpu_->rows(rows);
  const WholeRows table(*this);
  at::Tensor values = at::empty({std::ssize(rows), options_.dim}, at::kFloat);
  float* out = values.data_ptr<float>();
  for (const LocalRow row : rows) {
    kernels::read_row(table.caught_up(row), options_.dim, out);
    out += options_.dim;
  }
  return values;
}

}  // namespace pfc
