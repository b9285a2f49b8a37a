#include "pfc/train/disk_speed.h"

#include <gmock/gmock.h>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

// Four seconds: a shorter measurement would measure a drive's cache.
TEST(DiskSpeed, MeasuresAndLeavesNothing) {
  const TemporaryFolder folder;
  const DiskSpeed speed = measure_disk(folder.path());
  EXPECT_GT(speed.pages_read, 0);
  EXPECT_GT(speed.pages_written, 0);
  EXPECT_GT(speed.bytes_read, 0);
  EXPECT_GT(speed.bytes_written, 0);
  EXPECT_NE(speed.how, "");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(DiskSpeed, RefusesAFolderThatThereIsNot) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      [&] { measure_disk(folder / "none"); },
      testing::ThrowsMessage<Error>(testing::HasSubstr("none: cannot be measured: No such")));
}

}  // namespace
}  // namespace pfc
