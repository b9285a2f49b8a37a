#include "pfc/head/center_table.h"

#include "head/kernels/row_rules.h"
#include "head/table_state.h"

namespace pfc {

std::int64_t bytes_a_row(const CenterTableOptions& options) {
  const std::int64_t states = std::ssize(kernels::states_of(options.optimizer));
  const std::int64_t counts =
      kernels::counts_updates(options.optimizer) + is_dense(options.optimizer);
  return options.dim * (bytes_of(options.weights) + states * bytes_of(options.state)) +
         counts * std::int64_t{sizeof(std::int32_t)};
}

CenterTable::CenterTable(const ClassShard& shard, const CenterTableOptions& options)
    : state_(std::make_unique<TableState>(shard, options)) {}

CenterTable::~CenterTable() = default;

const ClassShard& CenterTable::shard() const {
  return state_->shard;
}
std::int64_t CenterTable::dim() const {
  return state_->options.dim;
}
const CenterOptimizer& CenterTable::optimizer() const {
  return state_->optimizer();
}
std::int64_t CenterTable::bytes() const {
  return state_->bytes();
}
std::int64_t CenterTable::steps() const {
  return state_->history.steps();
}
void CenterTable::catch_up() {
  state_->catch_up();
}
at::Tensor CenterTable::rows(std::span<const LocalRow> rows) const {
  return state_->rows->read(rows);
}
at::Tensor CenterTable::weights() const {
  return state_->weights;
}

std::vector<std::pair<std::string, at::Tensor>> CenterTable::parts() const {
  std::vector<std::pair<std::string, at::Tensor>> parts = {{"centers", state_->weights}};
  const std::span<const char* const> names = kernels::states_of(optimizer());
  for (std::size_t i = 0; i < names.size(); ++i) parts.emplace_back(names[i], state_->states[i]);
  if (state_->updates.defined()) parts.emplace_back("updates", state_->updates);
  if (state_->history.is_kept()) parts.emplace_back("steps_seen", state_->history.seen());
  return parts;
}

at::Tensor CenterTable::part(std::string_view name) const {
  for (const auto& [found, part] : parts()) {
    if (found == name) return part;
  }
  return {};
}

}  // namespace pfc
