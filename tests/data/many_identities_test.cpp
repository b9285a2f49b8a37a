// More identities than float32 labels can distinguish. This takes gigabytes of records, so the test
// is slow.
#include <gtest/gtest.h>

#include <numeric>

#include "data/record_bytes.h"
#include "data/record_file.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/dataset.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

TEST(ManyIdentities, AreToldExactlyAboveWhatFloat32CanHold) {
  constexpr std::int64_t kIdentities = 20'000'000;
  const TemporaryFolder folder;
  {
    FaceRecordWriter writer(folder / "train.rec");
    const auto image = bytes_of("abcd");
    for (std::int64_t i = 0; i < kIdentities; ++i) writer.add(i, image);
    writer.commit();
  }
  std::vector<std::int32_t> want(kIdentities);
  std::iota(want.begin(), want.end(), 0);
  for (const bool with_idx : {true, false}) {  // the second time by a scan
    if (!with_idx) std::filesystem::remove(folder / "train.idx");
    const auto set = open_dataset({.path = folder.path()});
    EXPECT_EQ(set->identities(), kIdentities);
    EXPECT_TRUE(std::ranges::equal(set->labels(), want));
  }

  // Other readers see what they know: a label, rounded if necessary, and normal images.
  const RecordFile file(folder / "train.rec");
  const RecordIndex index = file.index();
  EXPECT_EQ(index.declared_identities, kIdentities);
  std::vector<std::byte> scratch;
  const auto record = [&](std::size_t i) {
    return file.reader().image_record_at(index.offsets[i], scratch);
  };
  constexpr std::size_t kLargest = std::size_t{1} << 24;
  EXPECT_EQ(record(kLargest - 1).label(0), 16777215.0f);
  EXPECT_EQ(record(kLargest).id2, 0u);
  EXPECT_EQ(record(kLargest + 1).label(0), 16777216.0f);
  EXPECT_EQ(record(kLargest + 1).id2, kLargest + 1);

  // Without the announcement in key 0 such labels are refused.
  std::string bytes = read_file(folder / "train.rec");
  const std::string mark(reinterpret_cast<const char*>(&kExactLabels), sizeof kExactLabels);
  const std::size_t at = bytes.rfind(mark);
  ASSERT_NE(at, std::string::npos);
  bytes[at] ^= 1;
  EXPECT_THROW(index_records({std::as_bytes(std::span(bytes)), "train.rec"}), DataError);
}

}  // namespace
}  // namespace pfc
