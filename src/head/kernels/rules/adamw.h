// Part of every_rule.h.

/// AdamW as torch.optim.AdamW defines it, with its own β and ε. In a row's n-th update:
/// m ← m + (1 − β₁)(dw − m), v ← v + (1 − β₂)(dw² − v) and
/// w ← w − (ηλw + η / (1 − β₁ⁿ) · m / (√v / √(1 − β₂ⁿ) + ε)).
struct AdamW {
  static constexpr std::array<const char*, 2> kStates = {"momentum", "squares"};
  static constexpr bool kCountsUpdates = true;

  float taken;            ///< ηλ, the share of w that the decoupled decay removes
  float rate;             ///< η / (1 − β₁ⁿ)
  float root_correction;  ///< 1 / √(1 − β₂ⁿ)
  /// 1 − β, taken from a double, because 1 − 0.999f is 1.3e-5 below 0.001.
  float rest1, rest2;
  float epsilon;

  PFC_RULE AdamW(const CenterOptimizer& optimizer, double lr, std::int32_t n)
      : taken(static_cast<float>(lr * optimizer.weight_decay)),
        rate(static_cast<float>(lr / (1 - std::pow(optimizer.beta1, n)))),
        root_correction(static_cast<float>(1 / std::sqrt(1 - std::pow(optimizer.beta2, n)))),
        rest1(static_cast<float>(1 - optimizer.beta1)),
        rest2(static_cast<float>(1 - optimizer.beta2)),
        epsilon(static_cast<float>(optimizer.epsilon)) {}

  static bool keeps_states(const CenterOptimizer&) { return true; }

  PFC_RULE float decay() const { return 0; }

  template <class T>
  PFC_RULE void update(const Gradient<T>& gradient, T& w, std::array<T, 2>& states) const {
    const T dw = gradient.value();
    T& mean = states[0];
    T& square = states[1];
    mean = mul_add(dw - mean, T(rest1), mean);
    square = mul_add(mul_sub(dw, dw, square), T(rest2), square);
    const T root = mul_add(sqrt(square), T(root_correction), T(epsilon));
    w = w - mul_add(w, T(taken), mean * T(rate) / root);
  }
};
