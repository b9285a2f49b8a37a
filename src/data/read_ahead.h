#pragma once

#include <cstdint>

#include "pfc/data/dataset.h"
#include "pfc/plan/step_plan.h"

namespace pfc {

/// For training that goes over a set in windows: has the blocks of the next window read while the
/// current one is used. So reads are large and in the order of the plan.
class ReadAhead {
 public:
  /// `dataset` must outlive this object.
  ReadAhead(const Dataset& dataset, const StepPlannerOptions& options);

  /// Call it before the images of `step` are read; steps come in order.
  void before(std::int64_t step);

 private:
  void read(std::int64_t epoch, std::int64_t block);

  const Dataset& dataset_;
  StepPlannerOptions options_;
  std::int64_t next_ = -1;  ///< the block that is read next, counted over all epochs
};

}  // namespace pfc
