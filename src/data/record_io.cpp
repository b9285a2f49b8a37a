#include "pfc/data/record_io.h"

#include <cassert>
#include <cstdio>
#include <utility>

#include "base/little_endian.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::size_t kFrame = 8;         // magic, flag and length
constexpr std::size_t kImageHeader = 24;  // flag, label, id, id2
constexpr std::size_t kLabelOffset = 4;   // of the label within it
constexpr std::uint32_t kLengthBits = 29;
enum PartFlag : std::uint32_t { kWhole = 0, kFirst = 1, kMiddle = 2, kLast = 3 };

std::string place(std::uint64_t offset) {
  return "offset " + std::to_string(offset);
}

std::string hex(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

void append_part(PartFlag flag, std::span<const std::byte> data, std::vector<std::byte>& out) {
  append(out, kRecordMagic);
  append(out, flag << kLengthBits | static_cast<std::uint32_t>(data.size()));
  out.insert(out.end(), data.begin(), data.end());
}

}  // namespace

struct RecordReader::Part {
  std::uint32_t flag;
  std::span<const std::byte> data;
  std::uint64_t end;
};

float ImageRecord::label(std::size_t i) const {
  assert(i < label_count());
  return load<float>(labels, i * sizeof(float));
}

RecordReader::RecordReader(std::span<const std::byte> bytes, std::string name)
    : bytes_(bytes), name_(std::move(name)) {}

RecordReader::RecordReader(const MappedFile& file)
    : bytes_(file.bytes()), name_(file.path().string()), file_(&file) {}

void RecordReader::forget() const {
  if (file_ != nullptr) file_->forget();
}

RecordReader::Part RecordReader::part_at(std::uint64_t offset) const {
  if (offset % 4 != 0) {
    throw DataError(name_, place(offset), "records begin at multiples of 4");
  }
  if (offset > size() || size() - offset < kFrame) {
    throw DataError(
        name_, place(offset),
        "a record wants 8 bytes or more, found the end of the file at " + std::to_string(size()));
  }
  const auto magic = load<std::uint32_t>(bytes_, offset);
  if (magic != kRecordMagic) {
    throw DataError(name_, place(offset), "magic " + hex(magic) + ", want " + hex(kRecordMagic));
  }
  const auto word = load<std::uint32_t>(bytes_, offset + 4);
  const std::uint64_t length = word & (kRecordSizeLimit - 1);
  const std::uint64_t padded = (length + 3) / 4 * 4;
  if (size() - offset - kFrame < padded) {
    throw DataError(name_, place(offset),
                    "a record of " + counted(length, "byte") +
                        " goes beyond the end of the file at " + std::to_string(size()));
  }
  return {word >> kLengthBits, bytes_.subspan(offset + kFrame, length), offset + kFrame + padded};
}

Record RecordReader::record_at(std::uint64_t offset, std::vector<std::byte>& scratch) const {
  Part part = part_at(offset);
  if (part.flag == kWhole) return {part.data, part.end};
  if (part.flag != kFirst) {
    throw DataError(
        name_, place(offset),
        "part flag " + std::to_string(part.flag) + " where a record begins, want 0 or 1");
  }
  scratch.assign(part.data.begin(), part.data.end());
  do {
    const std::uint64_t next = part.end;
    part = part_at(next);
    if (part.flag != kMiddle && part.flag != kLast) {
      throw DataError(name_, place(next),
                      "part flag " + std::to_string(part.flag) +
                          " within the record that begins at " + std::to_string(offset) +
                          ", want 2 or 3");
    }
    append(scratch, kRecordMagic);
    scratch.insert(scratch.end(), part.data.begin(), part.data.end());
  } while (part.flag != kLast);
  return {scratch, part.end};
}

ImageRecord RecordReader::image_record_at(std::uint64_t offset,
                                          std::vector<std::byte>& scratch) const {
  const auto [payload, end] = record_at(offset, scratch);
  if (payload.size() < kImageHeader) {
    throw DataError(
        name_, place(offset),
        "a payload of " + counted(payload.size(), "byte") + ", want an image header of 24");
  }
  ImageRecord record;
  record.flag = load<std::uint32_t>(payload, 0);
  record.id = load<std::uint64_t>(payload, 8);
  record.id2 = load<std::uint64_t>(payload, 16);
  record.end = end;
  const std::uint64_t label_bytes = std::uint64_t{record.flag} * sizeof(float);
  if (label_bytes > payload.size() - kImageHeader) {
    throw DataError(name_, place(offset),
                    counted(record.flag, "label") + " do not fit into a payload of " +
                        counted(payload.size(), "byte"));
  }
  record.labels = record.flag == 0 ? payload.subspan(kLabelOffset, sizeof(float))
                                   : payload.subspan(kImageHeader, label_bytes);
  record.image = payload.subspan(kImageHeader + label_bytes);
  return record;
}

void append_record(std::span<const std::byte> payload, std::vector<std::byte>& out) {
  if (payload.size() >= kRecordSizeLimit) {
    throw Error("a record of " + counted(payload.size(), "byte") + ", want fewer than " +
                std::to_string(kRecordSizeLimit));
  }
  std::size_t begin = 0;
  for (std::size_t i = 0; i + 4 <= payload.size(); i += 4) {
    if (load<std::uint32_t>(payload, i) != kRecordMagic) continue;
    append_part(begin == 0 ? kFirst : kMiddle, payload.subspan(begin, i - begin), out);
    begin = i + 4;
  }
  append_part(begin == 0 ? kWhole : kLast, payload.subspan(begin), out);
  out.resize(out.size() + (4 - payload.size() % 4) % 4);
}

}  // namespace pfc
