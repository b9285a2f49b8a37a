#include "data/record_index_cache.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

const RecordSource kSource{.rec = {.size = 1000, .time = 5}, .idx = {.size = 30, .time = 6}};

RecordIndex dense_index() {
  return {.offsets = {400, 0, 36},
          .identities = {0, 1, 1},
          .keys = {},
          .first_key = 1,
          .declared_identities = 2};
}
RecordIndex sparse_index() {
  return {
      .offsets = {400, 0, 968}, .identities = {7, 0, 16777216}, .keys = {2, 3, 9}, .first_key = 2};
}

std::vector<std::byte> cache_of(const RecordIndex& index) {
  std::vector<std::byte> bytes;
  encode_index_cache(index, kSource, [&](std::span<const std::byte> part) {
    bytes.insert(bytes.end(), part.begin(), part.end());
  });
  return bytes;
}

void expect_equal(const RecordIndex& a, const RecordIndex& b) {
  EXPECT_EQ(a.offsets, b.offsets);
  EXPECT_EQ(a.identities, b.identities);
  EXPECT_EQ(a.keys, b.keys);
  EXPECT_EQ(a.first_key, b.first_key);
  EXPECT_EQ(a.declared_identities, b.declared_identities);
}

TEST(RecordIndexCache, ReadsBackWhatWasWritten) {
  for (const RecordIndex& index : {dense_index(), sparse_index()}) {
    const auto read = decode_index_cache(cache_of(index), kSource);
    ASSERT_TRUE(read);
    expect_equal(*read, index);
  }
}

TEST(RecordIndexCache, NoticesEveryChangedByte) {
  for (const RecordIndex& index : {dense_index(), sparse_index()}) {
    auto bytes = cache_of(index);
    for (std::byte& byte : bytes) {
      for (const std::byte change : {std::byte{1}, std::byte{0x80}, std::byte{0xff}}) {
        byte ^= change;
        EXPECT_FALSE(decode_index_cache(bytes, kSource)) << &byte - bytes.data();
        byte ^= change;
      }
    }
    EXPECT_TRUE(decode_index_cache(bytes, kSource));
  }
}

TEST(RecordIndexCache, NoticesEveryTruncation) {
  auto bytes = cache_of(sparse_index());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_index_cache(std::span(bytes).first(size), kSource)) << size;
  }
  bytes.push_back(std::byte{});
  EXPECT_FALSE(decode_index_cache(bytes, kSource));
}

TEST(RecordIndexCache, IsStaleWhereASourceHasChanged) {
  const auto bytes = cache_of(dense_index());
  for (auto [rec_size, rec_time, idx_size, idx_time] :
       {std::array{1004, 5, 30, 6}, std::array{1000, 4, 30, 6}, std::array{1000, 5, 31, 6},
        std::array{1000, 5, 30, 7}}) {
    const RecordSource other{.rec = {static_cast<std::uint64_t>(rec_size), rec_time},
                             .idx = {static_cast<std::uint64_t>(idx_size), idx_time}};
    EXPECT_FALSE(decode_index_cache(bytes, other));
  }
  EXPECT_FALSE(decode_index_cache(bytes, {.rec = kSource.rec, .idx = {}}));
}

TEST(RecordIndexCache, RefusesWhatCannotBeEvenUnderARightChecksum) {
  const auto refused = [](RecordIndex index) {
    return !decode_index_cache(cache_of(index), kSource).has_value();
  };
  const auto changed = [](auto change) {
    RecordIndex index = sparse_index();
    change(index);
    return index;
  };
  EXPECT_FALSE(refused(sparse_index()));
  EXPECT_TRUE(
      refused(changed([](RecordIndex& i) { i.offsets[1] = 972; })));  // no room for a record
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.offsets[1] = ~std::uint64_t{3}; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.offsets[1] = 2; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.identities[0] = -1; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.identities[0] = 16777217; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.declared_identities = 7; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.declared_identities = -1; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.keys = {2, 3, 3}; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.keys = {2, 9, 3}; })));
  EXPECT_TRUE(refused(changed([](RecordIndex& i) { i.first_key = 4294967294u; })));
  EXPECT_TRUE(refused(RecordIndex{}));
}

}  // namespace
}  // namespace pfc
