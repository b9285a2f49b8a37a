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

}  // namespace

TableState::TableState(const ClassShard& of_rank, const CenterTableOptions& asked)
    : shard(of_rank),
      options(checked(asked, of_rank)),
      memory(of_rank.rows() * bytes_a_row(asked), asked),
      weights(memory.take({shard.rows(), options.dim}, scalar_type(options.weights))) {
  for (std::size_t i = 0; i < kernels::states_of(optimizer()).size(); ++i)
    states.push_back(memory.take({shard.rows(), options.dim}, scalar_type(options.state)));
  if (kernels::counts_updates(optimizer())) updates = memory.take({shard.rows()}, at::kInt);
  if (is_dense(optimizer()))
    history = StepHistory(optimizer(), memory.take({shard.rows()}, at::kInt));
  rows = lies_on_gpu(options) ? make_gpu_rows(*this) : std::make_unique<HostRows>(*this);
  rows->fill_normal(CenterTable::kInitialDeviation);
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
