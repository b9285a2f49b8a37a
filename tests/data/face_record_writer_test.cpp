#include <gmock/gmock.h>

#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/dataset.h"
#include "pfc/data/record_io.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(FaceRecordWriter, WritesTheFaceLayoutToTheByte) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  writer.add(0, bytes_of("a"));
  writer.add(0, bytes_of("bcde"));
  writer.add(1, bytes_of(""));
  writer.commit();

  const auto range = [](std::uint64_t key, float first, float last, std::uint64_t id2) {
    auto payload = payload_of(key, 0, {first, last}, "");
    std::memcpy(payload.data() + 16, &id2, sizeof id2);
    return payload;
  };
  std::vector<std::byte> expected;
  for (const auto& payload :
       {payload_of(1, 0, {}, "a"), payload_of(2, 0, {}, "bcde"), payload_of(3, 1, {}, ""),
        range(4, 1, 3, 0), range(5, 3, 4, 0), range(0, 4, 6, 1)}) {
    append_record(payload, expected);
  }
  EXPECT_EQ(read_file(folder / "train.rec"), text_of(expected));
  EXPECT_EQ(read_file(folder / "train.idx"), "1\t0\n2\t36\n3\t72\n4\t104\n5\t144\n0\t184\n");
  EXPECT_EQ(read_file(folder / "property"), "2,112,112\n");
  EXPECT_EQ(files_in(folder.path()), 3u);
}

TEST(FaceRecordWriter, LeavesNothingBehindWithoutCommit) {
  const TemporaryFolder folder;
  {
    FaceRecordWriter writer(folder / "train.rec");
    writer.add(0, std::vector<std::byte>(3 << 20));  // more than is buffered
    EXPECT_FALSE(fs::exists(folder / "train.rec"));
    EXPECT_FALSE(fs::exists(folder / "train.idx"));
  }
  EXPECT_EQ(files_in(folder.path()), 0u);
}

TEST(FaceRecordWriter, GivesTheImagesOfAnIdentityConsecutiveKeysHoweverTheyCome) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  for (const auto& [identity, image] :
       {std::pair{3, "c"}, std::pair{0, "a"}, std::pair{3, "d"}, std::pair{0, "b"}})
    writer.add(identity, bytes_of(image));
  writer.commit(96, 128);
  EXPECT_EQ(read_file(folder / "property"), "4,128,96\n");
  fs::remove(folder / "property");
  for (const bool with_idx :
       {true, false}) {  // the ids are the keys, so nothing is lost with the .idx
    if (!with_idx) fs::remove(folder / "train.idx");
    const auto set = open_dataset({.path = folder.path()});
    ASSERT_EQ(set->size(), 4);
    std::string images;
    std::vector<std::byte> scratch;
    for (std::int64_t i = 0; i < 4; ++i) images += text_of(set->image(i, scratch));
    EXPECT_EQ(images, "abcd");
    EXPECT_THAT(set->labels(), testing::ElementsAre(0, 0, 1, 1));  // gaps are closed
  }
}

TEST(FaceRecordWriter, RefusesIdentitiesThatNoSetCanHold) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  EXPECT_THROW(writer.add(-1, bytes_of("a")), Error);
  EXPECT_THROW(writer.add(std::int64_t{1} << 31, bytes_of("a")), Error);
  EXPECT_THROW(writer.commit(), Error);
  writer.add(kMostIdentities - 1, bytes_of("a"));
  EXPECT_THAT([&] { writer.commit(); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("number them closer")));
  EXPECT_FALSE(fs::exists(folder / "train.rec"));
}

TEST(FaceRecordWriter, RefusesAnImageTooLongForARecordAndGoesOn) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  writer.add(0, bytes_of("a"));
  EXPECT_THROW(writer.add(0, std::vector<std::byte>(kRecordSizeLimit - 24)), Error);
  writer.add(0, bytes_of("b"));
  writer.commit();
  EXPECT_EQ(read_file(folder / "train.idx"), "1\t0\n2\t36\n3\t72\n0\t112\n");
}

}  // namespace
}  // namespace pfc
