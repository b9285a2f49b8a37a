#include "pfc/data/record_shuffle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/record_bytes.h"
#include "data/record_file.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/dataset.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

class RecordShuffle : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_ / "new");
    FaceRecordWriter writer(folder_ / "train.rec");
    for (int i = 0; i < kImages; ++i) {
      // One image in ten contains a record's magic, so its record is split.
      const std::string image = (i % 10 == 0 ? "\x0a\x23\xd7\xce" : "") + std::to_string(i) +
                                std::string(static_cast<std::size_t>(i % 7), 'x');
      writer.add(i / 5, bytes_of(image));
    }
    writer.commit();
  }
  RecordShuffleOptions options(const std::string& to, std::uint64_t seed = 0) const {
    return {.from = folder_ / "train.rec", .to = folder_ / to, .seed = seed, .memory_bytes = 4000};
  }
  std::vector<std::string> order_of(const std::string& rec) const {
    const auto set = open_dataset({.path = folder_ / rec, .file_order = true});
    std::vector<std::string> keys;
    for (std::int64_t i = 0; i < set->size(); ++i) keys.push_back(set->key(i));
    return keys;
  }

  static constexpr int kImages = 1000;
  TemporaryFolder folder_;
};

TEST_F(RecordShuffle, MovesRecordsAndChangesNoneOfThem) {
  EXPECT_EQ(shuffle_records(options("new/shuffled.rec")), kImages + kImages / 5 + 1);
  EXPECT_EQ(read_file(folder_ / "new/property"), read_file(folder_ / "property"));
  EXPECT_EQ(fs::file_size(folder_ / "new/shuffled.rec"), fs::file_size(folder_ / "train.rec"));
  const auto before = open_dataset({.path = folder_ / "train.rec"});
  const auto after = open_dataset({.path = folder_ / "new/shuffled.rec"});
  EXPECT_TRUE(std::ranges::equal(before->labels(), after->labels()));
  std::vector<std::byte> one, other;
  for (std::int64_t i = 0; i < before->size(); ++i) {
    EXPECT_EQ(before->key(i), after->key(i));
    EXPECT_TRUE(std::ranges::equal(before->image(i, one), after->image(i, other)));
  }
  // Without its .idx it is the same set, because the ids are the keys.
  fs::remove(folder_ / "new/shuffled.idx");
  fs::remove(folder_ / "new/shuffled.rec.pfcidx");
  EXPECT_TRUE(std::ranges::equal(open_dataset({.path = folder_ / "new/shuffled.rec"})->labels(),
                                 before->labels()));
}

TEST_F(RecordShuffle, PutsThemInAnOrderThatTheSeedDecides) {
  shuffle_records(options("a.rec", 1));
  shuffle_records(options("b.rec", 2));
  fs::remove(folder_ / "c.rec");
  shuffle_records(options("c.rec", 1));
  EXPECT_EQ(read_file(folder_ / "a.rec"), read_file(folder_ / "c.rec"));
  EXPECT_EQ(read_file(folder_ / "a.idx"), read_file(folder_ / "c.idx"));
  EXPECT_NE(order_of("a.rec"), order_of("b.rec"));
  // Well mixed: of 1,000 records, about one keeps its place by chance.
  const auto before = order_of("train.rec"), after = order_of("a.rec");
  int kept = 0;
  for (std::size_t i = 0; i < before.size(); ++i) kept += before[i] == after[i] ? 1 : 0;
  EXPECT_LE(kept, 8);
}

TEST_F(RecordShuffle, MakesEveryPlaceAsLikelyForTheFirstRecord) {
  std::map<std::size_t, int> quarters;
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    const std::string name = std::to_string(seed) + ".rec";
    shuffle_records(options(name, seed));
    const auto order = order_of(name);
    const auto place = std::ranges::find(order, "1") - order.begin();
    ++quarters[static_cast<std::size_t>(place) / 250];
  }
  for (std::size_t q = 0; q < 4; ++q) EXPECT_NEAR(quarters[q], 20, 16) << q;  // four deviations
}

TEST_F(RecordShuffle, LeavesNothingBehindWhereItIsStoppedOrRefused) {
  RecordShuffleOptions stopped = options("new.rec");
  stopped.progress = [](std::int64_t done, std::int64_t total) {
    if (done > total / 2 + 1000) throw Error("stopped");
  };
  EXPECT_THROW(shuffle_records(stopped), Error);
  EXPECT_THAT([&] { shuffle_records(options("train.rec")); },
              ThrowsMessage<Error>(HasSubstr("train.rec is there already")));
  fs::rename(folder_ / "train.idx", folder_ / "other.idx");
  EXPECT_THAT([&] { shuffle_records(options("new.rec")); },
              ThrowsMessage<Error>(HasSubstr("train.idx: not found")));
  std::string idx = read_file(folder_ / "other.idx");
  idx.replace(idx.find("\n2\t") + 3, 2, "24");  // a wrong offset
  write_file(folder_ / "train.idx", idx);
  fs::remove(folder_ / "train.rec.pfcidx");
  EXPECT_THAT([&] { shuffle_records(options("new.rec")); },
              ThrowsMessage<DataError>(HasSubstr("train.idx: key ")));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder_.path()))
    names.insert(entry.path().filename().string());
  EXPECT_EQ(names,
            (std::set<std::string>{"new", "other.idx", "property", "train.idx", "train.rec"}));
}

}  // namespace
}  // namespace pfc
