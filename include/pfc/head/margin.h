#pragma once

namespace pfc {

/// φ(cos θ) of a sample's own class and its derivative by cos θ.
struct MarginValue {
  double value;
  double slope;
};

/// The margin that replaces the cosine of a sample's own class: φ = cos(m1·θ + m2) − m3.
///
/// - CosFace (Wang et al., CVPR 2018): m3 alone.
/// - ArcFace (Deng et al., CVPR 2019): m2 alone; past θ + m = π, where the cosine would rise again,
/// φ = cos θ − m·sin m.
/// - Combined (SphereFace's m1, ArcFace's m2, CosFace's m3).
class Margin {
 public:
  /// How φ's slope reaches the embeddings.
  enum class Slope {
    kExact,            ///< m1·sin(m1·θ + m2) / sin θ
    kStraightThrough,  ///< taken as 1, as PyTorch training code of the field does since the end of
                       ///< 2022
  };

  static Margin cosface(double m) { return Margin(1, 0, m, Slope::kExact, false); }
  /// `m` in radians. Straight-through has no special case past π, as in the code that it is named
  /// for.
  static Margin arcface(double m, Slope slope = Slope::kExact) {
    return Margin(1, m, 0, slope, slope == Slope::kExact);
  }
  static Margin combined(double m1, double m2, double m3) {
    return Margin(m1, m2, m3, Slope::kExact, false);
  }

  /// `cosine` is clamped to [−1, 1]. The slope divides by no sine below 1e-6, so it stays finite at
  /// θ = 0 and θ = π.
  MarginValue operator()(double cosine) const;

  struct Terms {
    double m1, m2, m3;
    Slope slope;
    bool monotonic;  ///< the linear branch past θ + m2 = π
  };
  const Terms& terms() const { return terms_; }

 private:
  Margin(double m1, double m2, double m3, Slope slope, bool monotonic)
      : terms_{m1, m2, m3, slope, monotonic} {}

  Terms terms_;
};

}  // namespace pfc
