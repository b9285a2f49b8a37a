// Part of every_rule.h.

/// The loss's gradient by one component w of a row, dw = (d_unit − (d_unit·ŵ) ŵ) / ‖w‖, where
/// d_unit is the gradient by that component of the unit row ŵ. It includes the decay λw of rules
/// that have one. It is a sum of two products, d_unit·of_unit + w·of_w.
template <class T>
struct Gradient {
  T d_unit, w;
  T of_unit, of_w;

  PFC_RULE T value() const { return mul_add(w, of_w, d_unit * of_unit); }
  PFC_RULE T added_to(T x) const { return mul_add(w, of_w, mul_add(d_unit, of_unit, x)); }
};

/// Gradient's of_w for a row. along = d_unit·ŵ, inverse_norm = 1 / ‖w‖.
template <class T>
PFC_RULE T gradient_of_w(T decay, T along, T inverse_norm) {
  return decay - along * inverse_norm * inverse_norm;
}

/// w after its missed steps; v is the row's first state.
template <class T>
PFC_RULE T caught_up_w(const CatchUp& missed, T w, T v) {
  return w + mul_add(w, T(missed.w_w), v * T(missed.w_v));
}
/// The first state after the missed steps.
template <class T>
PFC_RULE T caught_up_v(const CatchUp& missed, T w, T v) {
  return mul_add(w, T(missed.v_w), v * T(missed.v_v));
}
