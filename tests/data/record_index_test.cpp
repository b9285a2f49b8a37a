#include "data/record_index.h"

#include <gmock/gmock.h>

#include <limits>

#include "data/record_bytes.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

RecordIndex index_of(const RecordBytes& file) {
  return index_records(file.reader(), file.listed, "train.idx");
}
auto indexing(const RecordBytes& file) {
  return [&file] { index_of(file); };
}
auto scanning(const RecordBytes& file) {
  return [&file] { index_records(file.reader()); };
}

/// Keys 1, 2, 3 of identities 0, 0, 1.
enum class KeyZero { kFirst, kMiddle, kLast };
RecordBytes face_file(KeyZero where, std::vector<float> header = {4, 6}) {
  RecordBytes file;
  if (where == KeyZero::kFirst) file.add(0, 0, header, "");
  file.add_image(1, 0);
  file.add_image(2, 0);
  if (where == KeyZero::kMiddle) file.add(0, 0, header, "");
  file.add_image(3, 1);
  file.add_range(4, 1, 3);
  file.add_range(5, 3, 4);
  if (where == KeyZero::kLast) file.add(0, 0, header, "");
  return file;
}

TEST(ParseIdx, ReadsKeysAndOffsets) {
  const auto list = parse_idx(bytes_of("7\t0\n4294967295\t18446744073709551615\n"), "a.idx");
  EXPECT_THAT(list.keys, ElementsAre(7u, 4294967295u));
  EXPECT_THAT(list.offsets, ElementsAre(0u, 18446744073709551615u));
}

TEST(ParseIdx, DoesNotMindHowLinesEnd) {
  for (const std::string text : {"\xef\xbb\xbf"
                                 "0\t0\n1\t40\n",
                                 "0\t0\r\n1\t40\r\n", "0\t0 \n1\t40\t\n", "0\t0\n\n1\t40"}) {
    EXPECT_THAT(parse_idx(bytes_of(text), "a.idx").offsets, ElementsAre(0u, 40u)) << text;
  }
}

TEST(ParseIdx, SaysWhichLineIsNotExact) {
  for (const std::string line :
       {"1 40\n", "1\t 40\n", " 1\t40\n", "1\t\n", "\t40\n", "-1\t40\n", "1\t-4\n", "+1\t40\n",
        "a\t40\n", "1\t40\t7\n", "4294967296\t40\n", "1\t18446744073709551616\n"}) {
    EXPECT_THAT([&] { parse_idx(bytes_of("0\t0\n" + line), "a.idx"); },
                fails_with("a.idx: line 2: found \""))
        << line;
  }
}

TEST(IndexRecords, FindsKeyZeroOfTheFaceLayoutAnywhere) {
  for (const KeyZero where : {KeyZero::kFirst, KeyZero::kMiddle, KeyZero::kLast}) {
    const RecordBytes file = face_file(where);
    for (const RecordIndex& index : {index_of(file), index_records(file.reader())}) {
      EXPECT_THAT(index.identities, ElementsAre(0, 0, 1));
      EXPECT_THAT(index.keys, IsEmpty());
      EXPECT_EQ(index.first_key, 1u);
      EXPECT_EQ(index.declared_identities, 2);
      for (std::size_t i = 0; i < file.listed.size(); ++i) {
        const std::uint32_t key = file.listed.keys[i];
        if (key < 1 || key > 3) continue;
        EXPECT_EQ(index.offsets[key - 1], file.listed.offsets[i]);
      }
    }
  }
}

TEST(IndexRecords, TakesEveryKeyOfAPlainFileForAnImage) {
  RecordBytes file;
  file.add_image(5, 3);
  file.add_image(0, 7);
  file.add_image(9, 0);
  const RecordIndex index = index_of(file);
  EXPECT_THAT(index.keys, ElementsAre(0, 5, 9));
  EXPECT_THAT(index.identities, ElementsAre(7, 3, 0));
  EXPECT_EQ(index.declared_identities, 0);
  EXPECT_EQ(index.find(5), 1u);
  EXPECT_EQ(index.find(4), std::nullopt);
}

TEST(IndexRecords, TakesTheFirstOfALabelArray) {
  RecordBytes file;
  file.add(0, 0, {3, 0.5f}, "image");
  file.add(1, 1, {2, -1, 7}, "image");
  EXPECT_THAT(index_of(file).identities, ElementsAre(3, 2));
}

TEST(IndexRecords, AcceptsAFaceHeaderWithoutIdentityRecords) {
  RecordBytes file;
  file.add(0, 0, {3, 360232}, "");
  file.add_image(1, 0);
  file.add_image(2, 5);
  const RecordIndex index = index_of(file);
  EXPECT_THAT(index.identities, ElementsAre(0, 5));
  EXPECT_EQ(index.declared_identities, 0);
}

TEST(IndexRecords, SaysWhereIdxAndRecDisagree) {
  const RecordBytes good = face_file(KeyZero::kFirst);
  const auto without_line = [&](std::ptrdiff_t line) {
    RecordBytes file = good;
    file.listed.offsets.erase(file.listed.offsets.begin() + line);
    file.listed.keys.erase(file.listed.keys.begin() + line);
    return file;
  };
  const auto with_offset = [&](std::size_t line, std::uint64_t offset) {
    RecordBytes file = good;
    file.listed.offsets[line] = offset;
    return file;
  };
  EXPECT_THAT(indexing(with_offset(2, good.bytes.size())),
              fails_with("train.idx: key 2: train.rec: offset 240: a record wants"));
  EXPECT_THAT(indexing(with_offset(5, 1 << 30)),
              fails_with("train.idx: key 5: train.rec: offset 1073741824: "));
  EXPECT_THAT(indexing(with_offset(1, 44)),
              fails_with("train.idx: key 1: train.rec: offset 44: magic 0x"));
  EXPECT_THAT(indexing(with_offset(1, 42)),
              fails_with("train.idx: key 1: train.rec: offset 42: records begin"));
  EXPECT_THAT(indexing(with_offset(2, good.listed.offsets[1])),
              fails_with("lies within a record that ends at 80"));
  RecordBytes twice = good;
  twice.listed.keys[2] = 1;
  EXPECT_THAT(indexing(twice), fails_with("train.idx: key 1: listed twice, at offsets 40 and 80"));
  EXPECT_THAT(indexing(without_line(2)), fails_with("train.idx: key 2: missing"));
  EXPECT_THAT(indexing(without_line(0)),
              fails_with("train.rec: key 4: an identity record, in a file whose key 0"));
}

TEST(IndexRecords, ChecksTheCountsOfTheFaceLayout) {
  EXPECT_THAT(indexing(face_file(KeyZero::kLast, {5, 6})),
              fails_with("key 0: identity records at keys [5, 6) are told, found [4, 6)"));
  EXPECT_THAT(indexing(face_file(KeyZero::kLast, {4, 7})), fails_with("are told, found [4, 6)"));
  EXPECT_THAT(indexing(face_file(KeyZero::kLast, {std::numeric_limits<float>::quiet_NaN(), 6})),
              fails_with("[nan, 6)"));
  RecordBytes beyond;
  beyond.add(0, 0, {2, 3}, "");
  beyond.add_image(1, 1);
  beyond.add_range(2, 1, 2);
  EXPECT_THAT(indexing(beyond), fails_with("train.rec: key 1: identity 1 in a file of 1 identity"));
  RecordBytes stray;
  stray.add(0, 0, {2, 4}, "");
  stray.add_image(1, 0);
  stray.add_range(2, 1, 2);
  stray.add_image(3, 0);
  EXPECT_THAT(indexing(stray),
              fails_with("train.rec: key 3: an image, want an identity record, as key 2 is one"));
}

TEST(IndexRecords, ChecksIdentityRangesAgainstTheImages) {
  const auto with_ranges = [](float a, float b, float c, float d) {
    RecordBytes file;
    file.add(0, 0, {4, 6}, "");
    file.add_image(1, 0);
    file.add_image(2, 0);
    file.add_image(3, 1);
    file.add_range(4, a, b);
    file.add_range(5, c, d);
    return file;
  };
  EXPECT_NO_THROW(index_of(with_ranges(1, 3, 3, 4)));
  EXPECT_NO_THROW(
      index_of(with_ranges(3, 4, 1, 3)));  // ranges need not be in the order of the labels
  EXPECT_NO_THROW(index_of(with_ranges(1, 3, 3, 3)));
  EXPECT_THAT(indexing(with_ranges(1, 4, 3, 4)),
              fails_with("key 3: identity 1, want 0 as in the range [1, 4) of key 4"));
  EXPECT_THAT(indexing(with_ranges(1, 3, 1, 3)),
              fails_with("key 5: range of images [1, 3) overlaps an earlier one"));
  EXPECT_THAT(indexing(with_ranges(0, 3, 3, 4)),
              fails_with("key 4: range of images [0, 3), want one within [1, 4)"));
  EXPECT_THAT(indexing(with_ranges(1, 3, 3, 5)),
              fails_with("key 5: range of images [3, 5), want one within [1, 4)"));
  EXPECT_THAT(indexing(with_ranges(3, 1, 3, 4)), fails_with("range of images [3, 1)"));
  EXPECT_THAT(indexing(with_ranges(1, 2.5f, 3, 4)), fails_with("range of images [1, 2.500000)"));
  EXPECT_THAT(indexing(with_ranges(std::numeric_limits<float>::quiet_NaN(), 3, 3, 4)),
              fails_with("[nan, 3)"));
}

TEST(IndexRecords, WantsWholeLabelsThatAFloatCanHold) {
  for (const float label : {-1.0f, 0.5f, 16777218.0f, std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity()}) {
    RecordBytes file;
    file.add_image(0, label);
    EXPECT_THAT(indexing(file), fails_with("train.idx: key 0: train.rec: offset 0: label "))
        << label;
    EXPECT_THAT(scanning(file), fails_with("train.rec: offset 0: label ")) << label;
  }
  RecordBytes largest;
  largest.add_image(0, 16777216.0f);
  EXPECT_THAT(index_of(largest).identities, ElementsAre(16777216));
}

TEST(IndexRecords, WantsAnImage) {
  EXPECT_THAT(scanning(RecordBytes{}), fails_with("train.rec: whole file: no images"));
  RecordBytes header_only;
  header_only.add(0, 0, {1, 1}, "");
  EXPECT_THAT(indexing(header_only), fails_with("no images"));
}

TEST(ScanRecords, CountsKeysWhereIdsDoNotTellThem) {
  for (const std::uint64_t id : {std::uint64_t{7}, std::uint64_t{1} << 32}) {
    RecordBytes file;
    file.add(0, id, {3}, "a");
    file.add(1, id, {1}, "b");
    const RecordIndex index = index_records(file.reader());
    EXPECT_THAT(index.offsets, ElementsAre(0, 36));
    EXPECT_THAT(index.identities, ElementsAre(3, 1));
    EXPECT_EQ(index.first_key, 0u);
    EXPECT_THAT(index.keys, IsEmpty());
  }
}

TEST(ScanRecords, SaysWhereTheFileIsCutOff) {
  RecordBytes file = face_file(KeyZero::kFirst);
  file.bytes.erase(file.bytes.end() - 4, file.bytes.end());
  EXPECT_THAT(
      scanning(file),
      fails_with(
          "train.rec: offset 200: a record of 32 bytes goes beyond the end of the file at 236"));
}

TEST(ParseProperty, ReadsTheFirstLine) {
  for (const std::string text :
       {"6133,112,112\n", "6133,112,112", "6133,112,112\r\n", "6133,112,112\n24793\n",
        "6133, 112, 112\n", "\xef\xbb\xbf 6133 ,112,\t112 \r\n"}) {
    EXPECT_EQ(parse_property(text, "property"), 6133);
  }
  for (const std::string text : {"", "6133", "6133,112,112x", "6133 112,112", "-1,112,112",
                                 "6133,112,224", "9999999999,112,112"}) {
    EXPECT_THAT([&] { parse_property(text, "property"); }, fails_with("property: line 1: found \""))
        << text;
  }
}

TEST(CheckProperty, TellsADisagreement) {
  const RecordIndex face = index_of(face_file(KeyZero::kFirst));
  EXPECT_NO_THROW(check_property(face, 2, "property"));
  EXPECT_THAT([&] { check_property(face, 3, "property"); },
              fails_with("property: line 1: 3 identities, but the .rec has 2 identity records"));
  RecordBytes file;
  file.add_image(0, 4);
  const RecordIndex plain = index_of(file);
  EXPECT_NO_THROW(check_property(plain, 5, "property"));
  EXPECT_THAT(
      [&] { check_property(plain, 4, "property"); },
      fails_with("property: line 1: 4 identities, but the .rec has an image of identity 4"));
}

}  // namespace
}  // namespace pfc
