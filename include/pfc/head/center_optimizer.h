#pragma once

#include "pfc/base/names.h"

namespace pfc {

/// The optimizer of class centres: torch.optim's SGD with momentum, or its AdamW.
struct CenterOptimizer {
  enum class Kind { kSgd, kAdamW };
  enum class Update {
    kSampled,          ///< A step changes only sampled rows (the paper's way). A row goes where the
                       ///< optimizer takes it in the steps that sample it.
    kDenseEquivalent,  ///< A row goes where an optimizer over the whole table would take it in all
                       ///< steps. When the row is sampled next, it is brought through the missed
                       ///< steps in closed form. SGD only.
  };

  Kind kind = Kind::kSgd;
  double momentum = 0.9;       ///< of SGD; 0: no optimizer state
  double weight_decay = 5e-4;  ///< of both; AdamW's is decoupled
  Update update = Update::kSampled;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< of AdamW
};

template <>
struct Names<CenterOptimizer::Kind> {
  static constexpr auto kAll = named_values<CenterOptimizer::Kind>(
      {{CenterOptimizer::Kind::kSgd, "sgd"}, {CenterOptimizer::Kind::kAdamW, "adamw"}});
};

template <>
struct Names<CenterOptimizer::Update> {
  static constexpr auto kAll = named_values<CenterOptimizer::Update>(
      {{CenterOptimizer::Update::kSampled, "sampled"},
       {CenterOptimizer::Update::kDenseEquivalent, "dense_equivalent"}});
};

}  // namespace pfc
