#include "head/table_state.h"

#include <string>

#include "head/gpu_table.h"
#include "head/host_rows.h"
#include "head/kernels/kernels_cuda.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

const CenterTableOptions& checked(const CenterTableOptions& options, const ClassShard& shard) {
  if (options.dim <= 0) {
    throw Error("the embedding size is " + std::to_string(options.dim) +
                ", want a positive number");
  }
  if (options.device.is_cuda() && options.dim % kernels::cuda::kWidth != 0) {
    throw Error("the embedding size is " + std::to_string(options.dim) +
                ", on a GPU it must be a multiple of " + std::to_string(kernels::cuda::kWidth));
  }
  if (is_dense(options.optimizer) && !kernels::catches_up(options.optimizer)) {
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

std::int64_t bytes_of_weights(const CenterTableOptions& options) {
  return options.dim * bytes_of(options.weights);
}

}  // namespace

TableState::TableState(const ClassShard& of_rank, const CenterTableOptions& asked)
    : shard(of_rank),
      options(checked(asked, of_rank)),
      weight_memory(of_rank.rows() * bytes_of_weights(asked), asked),
      state_memory(of_rank.rows() * (bytes_a_row(asked) - bytes_of_weights(asked)), asked),
      weights(weight_memory.take({shard.rows(), options.dim}, scalar_type(options.weights))) {
  take_state();
  rows->fill_normal(CenterTable::kInitialDeviation);
}

void TableState::take_state() {
  states.clear();
  for (std::size_t i = 0; i < kernels::states_of(optimizer()).size(); ++i)
    states.push_back(state_memory.take({shard.rows(), options.dim}, scalar_type(options.state)));
  updates = kernels::counts_updates(optimizer()) ? state_memory.take({shard.rows()}, at::kInt)
                                                 : at::Tensor();
  const std::int64_t steps = history.steps();
  history = is_dense(optimizer())
                ? StepHistory(optimizer(), state_memory.take({shard.rows()}, at::kInt))
                : StepHistory();
  history.resume(steps, optimizer(), {});
  rows = lies_on_gpu(options) ? make_gpu_rows(*this) : std::make_unique<HostRows>(*this);
}

bool TableState::keeps_the_same(const CenterOptimizer& next) const {
  return next.kind == optimizer().kind && next.update == optimizer().update &&
         kernels::states_of(next).size() <= states.size();
}

bool TableState::goes_on_with(const CenterOptimizer& next) const {
  const bool misses_the_same =
      next.momentum == optimizer().momentum && next.weight_decay == optimizer().weight_decay;
  return keeps_the_same(next) && (misses_the_same || !history.is_kept());
}

void TableState::change_optimizer(const CenterOptimizer& next) {
  CenterTableOptions changed = options;
  changed.optimizer = next;
  checked(changed, shard);
  catch_up();
  const bool keeps_the_same = this->keeps_the_same(next);
  options = changed;
  if (keeps_the_same) {
    history.resume(history.steps(), next, {});
    return;
  }
  state_memory =
      TableMemory(shard.rows() * (bytes_a_row(options) - bytes_of_weights(options)), options);
  take_state();
}

void TableState::end_step(double lr) {
  history.end_step(lr);
  if (history.is_full()) catch_up();
}

void TableState::catch_up() {
  if (!history.is_kept()) return;
  rows->catch_up();
  history.clear();
}

void TableState::resume(std::int64_t steps, const MissedSteps& missed) {
  const CenterOptimizer& now = optimizer();
  CenterOptimizer then = now;
  then.momentum = missed.momentum;
  then.weight_decay = missed.weight_decay;
  history.resume(steps, then, missed.learning_rates);
  if (missed.momentum == now.momentum && missed.weight_decay == now.weight_decay) return;
  catch_up();
  history.resume(steps, now, {});
}

}  // namespace pfc
