// Part of every_rule.h.

/// SGD with momentum and decay, as torch.optim.SGD defines it: v ← μv + dw + λw, w ← w − ηv.
struct Sgd {
  static constexpr std::array<const char*, 1> kStates = {"momentum"};
  static constexpr bool kCountsUpdates = false;

  float lr, momentum, weight_decay;

  PFC_RULE Sgd(const CenterOptimizer& optimizer, double step_lr, std::int32_t)
      : lr(static_cast<float>(step_lr)),
        momentum(static_cast<float>(optimizer.momentum)),
        weight_decay(static_cast<float>(optimizer.weight_decay)) {}

  static bool keeps_states(const CenterOptimizer& optimizer) { return optimizer.momentum > 0; }

  PFC_RULE float decay() const { return weight_decay; }

  template <class T>
  PFC_RULE void update(const Gradient<T>& gradient, T& w, std::array<T, 1>& states) const {
    T& velocity = states[0];
    velocity = gradient.added_to(velocity * T(momentum));
    w = mul_add(velocity, T(-lr), w);
  }

  /// With dw = 0 the step is linear.
  static LinearStep without_gradient(const CenterOptimizer& optimizer, double lr) {
    const double momentum = optimizer.momentum, decay = optimizer.weight_decay;
    return {1 - lr * decay, -lr * momentum, decay, momentum};
  }
};
