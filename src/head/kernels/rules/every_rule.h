// The rules that update rows of class centres. A rule states its formula once, for one component of
// a row, in a number type T: float or double, or a vector of floats with one component each. The
// kernels for every kind of processor are made from it.
//
// This file has no include guard and is included inside a namespace: once for scalars, by
// row_rules.h, and once for each instruction set, by rows_cpu-inl.h, because a function that works
// on vectors must be compiled for each of them.
//
// To add a rule, write a file like sgd.h, add its include and its case below, and add its name to
// CenterOptimizer::Kind. It has
//
//     kStates          the names, as in files, of the numbers that it keeps beside each weight;
//                      three at most
//     kCountsUpdates   whether n, below, is needed: it costs 4 bytes a row
//     R(optimizer, lr, n)   what a row's n-th update needs, n from 1 on; made once a row
//     keeps_states(optimizer)   whether they are kept; otherwise they are 0 in every update
//     decay()          λ: its gradients are dw + λw
//     update(gradient, w, states)   the formula, in place
//
// and may have
//
//     without_gradient(optimizer, lr)   what a step with dw = 0 does, if that is linear in w and
//                      the first state; then a row can be brought through missed steps
//
// Numbers have + − * /, sqrt, mul_add(a, b, c) = a·b + c and mul_sub(a, b, c) = a·b − c, both with
// one rounding if the processor can do that, and T(x) for a scalar x.

// The order matters: rules are made of the first.
// clang-format off
#include "head/kernels/rules/rule.h"
#include "head/kernels/rules/adamw.h"
#include "head/kernels/rules/sgd.h"
// clang-format on

/// Calls body(std::type_identity<R>()) with the optimizer's rule R.
template <class Body>
auto with_rule(CenterOptimizer::Kind kind, const Body& body) {
  switch (kind) {
    case CenterOptimizer::Kind::kAdamW:
      return body(std::type_identity<AdamW>());
    case CenterOptimizer::Kind::kSgd:
      break;
  }
  return body(std::type_identity<Sgd>());
}
