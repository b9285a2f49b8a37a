#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "head/step_history.h"
#include "head/table_memory.h"
#include "pfc/head/center_table.h"

namespace pfc {

/// What a whole table, or rows of it for the host, go through where the table lies.
class TableRows {
 public:
  virtual ~TableRows() = default;

  /// The centres' initial values.
  virtual void fill_normal(float deviation) = 0;
  /// Brings every row through the steps it missed; the caller then clears the history.
  virtual void catch_up() = 0;
  /// [n, dim] float32 in host memory: the rows as they are now.
  virtual at::Tensor read(std::span<const LocalRow> rows) const = 0;
};

/// A table's inside, for the head's passes and for files. A step gathers rows, updates them, tile
/// by tile (HostRows does it in host memory, kernels do it on a GPU), and ends.
struct TableState {
  ClassShard shard;
  CenterTableOptions options;
  TableMemory weight_memory, state_memory;
  at::Tensor weights;              ///< [rows, dim]
  std::vector<at::Tensor> states;  ///< each [rows, dim]: what the optimizer keeps beside them
  at::Tensor updates;              ///< [rows] int32: how often each was updated, if that is counted
  StepHistory history;
  std::unique_ptr<TableRows> rows;

  TableState(const ClassShard& shard, const CenterTableOptions& options);
  TableState(const TableState&) = delete;
  TableState& operator=(const TableState&) = delete;

  static TableState& of(CenterTable& table) { return *table.state_; }
  static const TableState& of(const CenterTable& table) { return *table.state_; }

  const CenterOptimizer& optimizer() const { return options.optimizer; }
  std::int64_t bytes() const { return weight_memory.bytes() + state_memory.bytes(); }

  /// Whether another optimizer can take over as the table is.
  bool goes_on_with(const CenterOptimizer& next) const;
  /// Else: catches all rows up, and makes room for what it keeps, zeros, if that is something else.
  void change_optimizer(const CenterOptimizer& next);

  /// After the step's updates, with their learning rate.
  void end_step(double lr);
  /// Whether the step that ends next brings every row through what it missed.
  bool next_step_catches_up() const { return history.is_full(/*more=*/1); }
  void catch_up();
  /// After all parts were overwritten with those of a table that went through `steps` steps, where
  /// rows have missed `missed`: goes on from there. What was missed stays what it was: where this
  /// table's momentum or decay differ from it, all rows are caught up first.
  void resume(std::int64_t steps, const MissedSteps& missed);

 private:
  bool keeps_the_same(const CenterOptimizer& next) const;
  void take_state();
};

}  // namespace pfc
