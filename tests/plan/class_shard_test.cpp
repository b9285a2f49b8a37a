#include "pfc/plan/class_shard.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

TEST(ClassShard, RangesAreContiguousAndDifferByAtMostOne) {
  for (const std::int64_t classes : {1, 5, 7, 100, 360'232}) {
    for (const int world : {1, 2, 3, 4, 8}) {
      std::int64_t next = 0;
      for (int rank = 0; rank < world; ++rank) {
        const ClassShard shard(classes, rank, world);
        EXPECT_EQ(shard.begin().v, next);
        EXPECT_GE(shard.rows(), classes / world);
        EXPECT_LE(shard.rows(), classes / world + 1);
        next = shard.end().v;
      }
      EXPECT_EQ(next, classes);
    }
  }
}

TEST(ClassShard, RowsAndClassesMapBothWays) {
  const ClassShard shard(10, 1, 3);  // 4, 3, 3
  EXPECT_EQ(shard.begin(), GlobalClass{4});
  EXPECT_TRUE(shard.owns({6}));
  EXPECT_FALSE(shard.owns({7}));
  EXPECT_EQ(shard.row({6}), LocalRow{2});
  EXPECT_EQ(shard.global({2}), GlobalClass{6});
}

}  // namespace
}  // namespace pfc
