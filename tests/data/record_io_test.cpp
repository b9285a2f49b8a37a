#include "pfc/data/record_io.h"

#include <gmock/gmock.h>

#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// Bytes from little-endian words.
std::vector<std::byte> words(std::initializer_list<std::uint32_t> values) {
  std::vector<std::byte> bytes;
  for (const std::uint32_t value : values) append(bytes, value);
  return bytes;
}

constexpr std::uint32_t frame(std::uint32_t flag, std::uint32_t length) {
  return flag << 29 | length;
}

std::vector<std::byte> payload_at(const std::vector<std::byte>& file, std::uint64_t offset) {
  std::vector<std::byte> scratch;
  const Record record = RecordReader(file, "a.rec").record_at(offset, scratch);
  return {record.payload.begin(), record.payload.end()};
}

TEST(RecordReader, ReturnsAWholeRecordInPlace) {
  const auto file = words({kRecordMagic, frame(0, 5), 0x64636261, 0x65});
  std::vector<std::byte> scratch;
  const Record record = RecordReader(file, "a.rec").record_at(0, scratch);
  EXPECT_EQ(record.payload.data(), file.data() + 8);
  EXPECT_EQ(text_of(record.payload), "abcde");
  EXPECT_EQ(record.end, 16u);
  EXPECT_TRUE(scratch.empty());
}

TEST(RecordReader, PutsTheMagicBackBetweenParts) {
  const auto file = words(
      {kRecordMagic, frame(1, 0), kRecordMagic, frame(2, 4), 7, kRecordMagic, frame(3, 1), 9});
  std::vector<std::byte> scratch;
  const Record record = RecordReader(file, "a.rec").record_at(0, scratch);
  auto expected = words({kRecordMagic, 7, kRecordMagic});
  expected.push_back(std::byte{9});
  EXPECT_EQ(std::vector(record.payload.begin(), record.payload.end()), expected);
  EXPECT_EQ(record.end, file.size());
}

TEST(RecordReader, SaysWhereARecordIsNotOne) {
  const auto at = [](std::vector<std::byte> file, std::uint64_t offset) {
    return [file = std::move(file), offset] { payload_at(file, offset); };
  };
  const auto good = words({kRecordMagic, frame(0, 4), 1});
  EXPECT_THAT(at(good, 2), fails_with("a.rec: offset 2: records begin at multiples of 4"));
  EXPECT_THAT(
      at(good, 8),
      fails_with(
          "a.rec: offset 8: a record wants 8 bytes or more, found the end of the file at 12"));
  EXPECT_THAT(at(good, 1u << 20), fails_with("a.rec: offset 1048576: "));
  EXPECT_THAT(at(good, ~std::uint64_t{3}), fails_with("a.rec: offset 18446744073709551612: "));
  EXPECT_THAT(at(words({0, frame(0, 4), 1}), 0),
              fails_with("offset 0: magic 0x00000000, want 0xced7230a"));
  EXPECT_THAT(at(words({kRecordMagic, frame(0, 5), 1}), 0),
              fails_with("offset 0: a record of 5 bytes goes beyond the end of the file at 12"));
  EXPECT_THAT(at(words({kRecordMagic, ~0u >> 3, 1}), 0),
              fails_with("a record of 536,870,911 bytes"));
}

TEST(RecordReader, SaysWhereASplitRecordIsNotWhole) {
  const auto read = [](std::vector<std::byte> file) {
    return [file = std::move(file)] { payload_at(file, 0); };
  };
  EXPECT_THAT(read(words({kRecordMagic, frame(3, 0)})),
              fails_with("offset 0: part flag 3 where a record begins"));
  EXPECT_THAT(read(words({kRecordMagic, frame(2, 0)})),
              fails_with("offset 0: part flag 2 where a record begins"));
  EXPECT_THAT(read(words({kRecordMagic, frame(7, 0)})),
              fails_with("offset 0: part flag 7 where a record begins"));
  EXPECT_THAT(read(words({kRecordMagic, frame(1, 4), 1})),
              fails_with("offset 12: a record wants 8 bytes"));
  EXPECT_THAT(read(words({kRecordMagic, frame(1, 4), 1, kRecordMagic, frame(0, 0)})),
              fails_with("offset 12: part flag 0 within the record that begins at 0, want 2 or 3"));
}

TEST(AppendRecord, SplitsAtEveryMagicOnAMultipleOfFour) {
  std::vector<std::byte> out;
  auto payload = words({1, kRecordMagic, kRecordMagic, 2, 3, kRecordMagic});
  payload.push_back(std::byte{9});
  append_record(payload, out);
  EXPECT_EQ(out, words({kRecordMagic, frame(1, 4), 1,     //
                        kRecordMagic, frame(2, 0),        //
                        kRecordMagic, frame(2, 8), 2, 3,  //
                        kRecordMagic, frame(3, 1), 9}));
}

TEST(AppendRecord, LeavesAMagicElsewhereAlone) {
  std::vector<std::byte> payload(1);
  append(payload, kRecordMagic);
  std::vector<std::byte> out;
  append_record(payload, out);
  EXPECT_EQ(out.size(), 16u);
  EXPECT_EQ(load<std::uint32_t>(out, 4), frame(0, 5));
  EXPECT_EQ(payload_at(out, 0), payload);
}

TEST(AppendRecord, RefusesWhatTheLengthCannotSay) {
  const std::byte first{};
  std::vector<std::byte> out;
  // Refused because of its size, before a byte of it is read.
  EXPECT_THROW(append_record({&first, kRecordSizeLimit}, out), Error);
  EXPECT_TRUE(out.empty());
}

TEST(AppendRecord, ReadsBackToTheByteWhateverIsInside) {
  const CounterRandom random(3, RandomStream{100});
  std::vector<std::byte> file;
  std::vector<std::vector<std::byte>> payloads;
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t n = 0; n < 500; ++n) {
    std::vector<std::byte> payload;
    const auto pieces = random.below(12, n, 0);
    for (std::int64_t p = 0; p < pieces; ++p) {  // magics, aligned or not, and single bytes
      const std::uint64_t draw = random.bits(n, static_cast<std::uint64_t>(p) + 1);
      if (draw % 3 != 0) append(payload, kRecordMagic);
      if (draw % 5 == 0) payload.push_back(static_cast<std::byte>(draw >> 8));
    }
    offsets.push_back(file.size());
    append_record(payload, file);
    payloads.push_back(std::move(payload));
  }
  std::vector<std::byte> scratch;
  const RecordReader reader(file, "a.rec");
  for (std::size_t n = 0; n < payloads.size(); ++n) {
    const Record record = reader.record_at(offsets[n], scratch);
    EXPECT_TRUE(std::equal(record.payload.begin(), record.payload.end(), payloads[n].begin(),
                           payloads[n].end()))
        << n;
    EXPECT_EQ(record.end, n + 1 < offsets.size() ? offsets[n + 1] : file.size());
  }
}

ImageRecord image_record(const std::vector<std::byte>& payload, std::vector<std::byte>& file) {
  file.clear();
  append_record(payload, file);
  std::vector<std::byte> scratch;
  return RecordReader(file, "a.rec").image_record_at(0, scratch);
}

TEST(ImageRecord, HasItsLabelInTheHeaderWhereTheFlagIsZero) {
  std::vector<std::byte> file;
  const ImageRecord record = image_record(payload_of(7, 42, {}, "jpeg"), file);
  EXPECT_EQ(record.id, 7u);
  EXPECT_EQ(record.label_count(), 1u);
  EXPECT_EQ(record.label(0), 42);
  EXPECT_EQ(text_of(record.image), "jpeg");
  EXPECT_EQ(record.end, file.size());
}

TEST(ImageRecord, HasAsManyLabelsAsItsFlag) {
  std::vector<std::byte> file;
  const ImageRecord record = image_record(payload_of(7, 42, {1, 2, 3}, "jpeg"), file);
  EXPECT_EQ(record.label_count(), 3u);
  EXPECT_EQ(record.label(0), 1);
  EXPECT_EQ(record.label(2), 3);
  EXPECT_EQ(text_of(record.image), "jpeg");
  EXPECT_FALSE(record.holds_range());
  EXPECT_TRUE(image_record(payload_of(7, 0, {1, 2}, ""), file).holds_range());
}

TEST(ImageRecord, SaysWhereAPayloadIsTooShort) {
  std::vector<std::byte> file;
  EXPECT_THAT([&] { image_record(std::vector<std::byte>(23), file); },
              fails_with("offset 0: a payload of 23 bytes, want an image header of 24"));
  auto payload = payload_of(1, 0, {1}, "abc");
  payload[0] = std::byte{2};  // the flag: one label more than there is
  EXPECT_THAT([&] { image_record(payload, file); },
              fails_with("2 labels do not fit into a payload of 31 bytes"));
  for (std::size_t i = 0; i < 4; ++i) payload[i] = std::byte{0xff};
  EXPECT_THAT([&] { image_record(payload, file); }, fails_with("4,294,967,295 labels do not fit"));
}

}  // namespace
}  // namespace pfc
