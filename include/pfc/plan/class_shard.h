#pragma once

#include <cassert>
#include <compare>
#include <cstdint>

namespace pfc {

/// A class: an identity's number among all classes of the training set.
struct GlobalClass {
  std::int64_t v;
  auto operator<=>(const GlobalClass&) const = default;
};

/// A row of this rank's part of the centre table.
struct LocalRow {
  std::int64_t v;
  auto operator<=>(const LocalRow&) const = default;
};

/// A class's place among those that a rank uses in a step, which are in the order of their rows.
struct SampledPlace {
  std::int32_t v = -1;  ///< −1: another rank owns the class
  bool is_owned() const { return v >= 0; }
  auto operator<=>(const SampledPlace&) const = default;
};

/// Which rank owns which class centres: contiguous ranges whose sizes differ by at most one, the
/// larger ones first.
class ClassShard {
 public:
  /// 0 < classes, 0 <= rank < world.
  ClassShard(std::int64_t classes, int rank, int world)
      : classes_(classes), rank_(rank), world_(world) {
    assert(classes > 0 && rank >= 0 && rank < world);
  }

  /// The same ranks' ranges of centres, where each class has so many: centre K·c + k is the k-th of
  /// class c. What is called a class below is a centre then.
  ClassShard of_centers(std::int64_t centers_a_class) const {
    ClassShard shard = *this;
    shard.centers_a_class_ = centers_a_class;
    return shard;
  }
  /// The same classes on another number of ranks.
  ClassShard on(int rank, int world) const {
    return ClassShard(classes_, rank, world).of_centers(centers_a_class_);
  }
  std::int64_t centers_a_class() const { return centers_a_class_; }

  std::int64_t classes() const { return classes_ * centers_a_class_; }
  int rank() const { return rank_; }
  int world() const { return world_; }
  GlobalClass begin() const { return {begin_of(rank_)}; }
  GlobalClass end() const { return {begin_of(rank_ + 1)}; }
  std::int64_t rows() const { return end().v - begin().v; }
  bool owns(GlobalClass c) const { return begin() <= c && c < end(); }
  LocalRow row(GlobalClass c) const {
    assert(owns(c));
    return {c.v - begin().v};
  }
  GlobalClass global(LocalRow row) const { return {begin().v + row.v}; }

 private:
  std::int64_t begin_of(int rank) const {
    const std::int64_t base = classes_ / world_, larger = classes_ % world_;
    return (rank * base + (rank < larger ? rank : larger)) * centers_a_class_;
  }

  std::int64_t classes_, centers_a_class_ = 1;
  int rank_;
  int world_;
};

}  // namespace pfc
