#include "pfc/train/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>

#include "pfc/base/error.h"

namespace pfc {
namespace {

static_assert(std::endian::native == std::endian::little, "records are little-endian");

double seconds_since_1970() {
  using Seconds = std::chrono::duration<double>;
  return Seconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

template <typename T>
std::string bytes_of(T value) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  return {bytes.data(), bytes.size()};
}

/// CRC-32C (Castagnoli; reflected polynomial 0x82f63b78), masked as TFRecord files require, because
/// a file that contains checksums must not check itself.
std::uint32_t masked_checksum(std::string_view data) {
  std::uint32_t crc = ~0u;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

// Protocol buffers: a field is its number and wire type, then its value.
enum WireType { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

std::string varint(std::uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text.push_back(static_cast<char>(value | 0x80));
  text.push_back(static_cast<char>(value));
  return text;
}
std::string key(std::uint64_t number, WireType type) {
  return varint(number << 3 | type);
}
std::string field(std::uint64_t number, std::string_view value) {
  return key(number, kLengthDelimited) + varint(value.size()) + std::string(value);
}
std::string field(std::uint64_t number, double value) {
  return key(number, kFixed64) + bytes_of(value);
}
std::string field(std::uint64_t number, float value) {
  return key(number, kFixed32) + bytes_of(value);
}
std::string field(std::uint64_t number, std::uint64_t value) {
  return key(number, kVarint) + varint(value);
}

// Numbers of the fields in event.proto and summary.proto.
constexpr std::uint64_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5,  // of Event
    kSessionLog = 7;
constexpr std::uint64_t kStatus = 1, kStart = 1;     // of SessionLog
constexpr std::uint64_t kValue = 1;                  // of Summary
constexpr std::uint64_t kTag = 1, kSimpleValue = 2;  // of Summary.Value

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder) {
  const auto now = static_cast<long long>(seconds_since_1970());
  path_ = folder / ("events.out.tfevents." + std::to_string(now) + "." + host_name() + "." +
                    std::to_string(::getpid()));
  out_.open(path_, std::ios::binary);
  if (!out_) throw Error(path_.string() + ": cannot be written");
  write_record(field(kWallTime, seconds_since_1970()) +
               field(kFileVersion, std::string_view("brain.Event:2")));
}

void EventFile::add_restart(std::int64_t step) {
  write_record(field(kWallTime, seconds_since_1970()) +
               field(kStep, static_cast<std::uint64_t>(step)) +
               field(kSessionLog, field(kStatus, kStart)));
}

void EventFile::add_scalar(std::int64_t step, std::string_view tag, double value) {
  const std::string scalar = field(kTag, tag) + field(kSimpleValue, static_cast<float>(value));
  write_record(field(kWallTime, seconds_since_1970()) +
               field(kStep, static_cast<std::uint64_t>(step)) +
               field(kSummary, field(kValue, scalar)));
}

void EventFile::write_record(const std::string& event) {
  const std::string length = bytes_of<std::uint64_t>(event.size());
  out_ << length << bytes_of(masked_checksum(length)) << event << bytes_of(masked_checksum(event))
       << std::flush;
  if (!out_) throw Error(path_.string() + ": cannot be written (is the disk full?)");
}

}  // namespace pfc
