#pragma once

#include "pfc/base/names.h"

namespace pfc {

/// What updates class centres: torch.optim's SGD with momentum, or its AdamW with β = (0.9, 0.999)
/// and ε = 1e-8.
struct CenterOptimizer {
  enum class Kind { kSgd, kAdamW };
  enum class Rule {
    kSampled,  ///< A step touches sampled rows only (the paper's way): a row goes where that
               ///< optimizer takes it in the steps that sample it.
    kDenseEquivalent,  ///< A row goes where that optimizer takes it in all steps, as one over the
                       ///< whole table would: it is brought through the steps it missed, in closed
                       ///< form, when it is sampled next. SGD only.
  };

  Kind kind = Kind::kSgd;
  double momentum = 0.9;       ///< of SGD; with 0 there is no optimizer state
  double weight_decay = 5e-4;  ///< of both; AdamW's is decoupled
  Rule rule = Rule::kSampled;
};

template <>
struct Names<CenterOptimizer::Kind> {
  static constexpr auto kAll = named_values<CenterOptimizer::Kind>(
      {{CenterOptimizer::Kind::kSgd, "sgd"}, {CenterOptimizer::Kind::kAdamW, "adamw"}});
};

template <>
struct Names<CenterOptimizer::Rule> {
  static constexpr auto kAll = named_values<CenterOptimizer::Rule>(
      {{CenterOptimizer::Rule::kSampled, "sampled"},
       {CenterOptimizer::Rule::kDenseEquivalent, "dense_equivalent"}});
};

}  // namespace pfc
