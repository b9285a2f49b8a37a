#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pfc {

class MappedFile;

/// Every record of a RecordIO file, and every part of a split record, begins with this number.
inline constexpr std::uint32_t kRecordMagic = 0xCED7230A;
/// The payload of a record, or of each part of a split record, is shorter than this.
inline constexpr std::size_t kRecordSizeLimit = std::size_t{1} << 29;
/// Identities are below this limit, because they are signed 32-bit numbers here.
inline constexpr std::int64_t kMostIdentities = (std::int64_t{1} << 31) - 1;

/// One record of a RecordIO file.
struct Record {
  std::span<const std::byte>
      payload;            ///< points into the file's bytes, or into scratch if the record was split
  std::uint64_t end = 0;  ///< offset of the next record
};

/// The payload of a record in an image set: a header (`IfQQ`: flag, label, id, id2), labels, and
/// the encoded image.
struct ImageRecord {
  std::uint32_t flag = 0;  ///< 0: one label, in the header; otherwise the number of labels after it
  std::uint64_t id = 0;
  std::uint64_t id2 = 0;
  std::span<const std::byte> labels;  ///< float32, not aligned; see `label`
  std::span<const std::byte> image;   ///< JPEG or PNG; empty in a record that holds a range of keys
  std::uint64_t end = 0;              ///< offset of the next record

  std::size_t label_count() const { return labels.size() / sizeof(float); }
  /// `i` is below label_count(), which is at least 1.
  float label(std::size_t i) const;
  /// Whether this is a header or identity record of the face layout: labels [first, last), no
  /// image.
  bool holds_range() const { return flag >= 2 && image.empty(); }
};

/// Reads the records of an MXNet RecordIO file in memory, usually a mapped file. A record begins at
/// a multiple of 4 bytes: the magic, 3 bits of flag (0 whole, 1 first, 2 middle, 3 last part) and
/// 29 bits of length, the payload, and zeros up to the next multiple of 4. If a payload holds the
/// magic at a multiple of 4, the writer splits it there and leaves the magic out; the reader puts
/// it back. Nothing outside `bytes` is ever read. Reading is safe from several threads.
class RecordReader {
 public:
  /// `name` stands for the file in messages. `bytes` must outlive the reader and what it returns.
  RecordReader(std::span<const std::byte> bytes, std::string name);
  /// The same for a mapped file, which must outlive the reader.
  explicit RecordReader(const MappedFile& file);

  /// The record that begins at `offset`. Throws DataError, naming the offset, if none begins there.
  Record record_at(std::uint64_t offset, std::vector<std::byte>& scratch) const;
  /// The same, with its payload split into fields. Throws DataError if the payload is too short for
  /// what its header announces.
  ImageRecord image_record_at(std::uint64_t offset, std::vector<std::byte>& scratch) const;

  /// Gives the pages of a mapped file back to the system. What is read again is mapped again.
  void forget() const;

  std::uint64_t size() const { return bytes_.size(); }
  const std::string& name() const { return name_; }

 private:
  struct Part;
  Part part_at(std::uint64_t offset) const;

  std::span<const std::byte> bytes_;
  std::string name_;
  const MappedFile* file_ = nullptr;
};

/// Appends `payload` to `out` as a record, split where necessary. Throws Error if it is
/// kRecordSizeLimit long or longer.
void append_record(std::span<const std::byte> payload, std::vector<std::byte>& out);

/// Writes an image set in the face layout of InsightFace. Images have keys 1…N, all images of an
/// identity one after another, and a scalar label. Identity c has key N+1+c; its labels are the
/// range of its image keys. Key 0, the last record, has the range of the identity records. `.idx`
/// and `property` are written beside the `.rec`. Nothing appears under its final name before
/// `commit`, and a new `.rec` never stands beside an old `.idx`. Needs 12 bytes of memory for each
/// image. Every failure throws Error.
///
/// A label is a float32, which is exact up to 2^24. A larger identity is also written into `id2` of
/// its images, and `id2` of key 0 announces that. Smaller sets are as other tools write them.
class FaceRecordWriter {
 public:
  explicit FaceRecordWriter(const std::filesystem::path& rec);
  ~FaceRecordWriter();
  FaceRecordWriter(const FaceRecordWriter&) = delete;
  FaceRecordWriter& operator=(const FaceRecordWriter&) = delete;

  /// Adds the next image, encoded. Identities may come in any order. Numbers in between without
  /// images get an empty range.
  void add(std::int64_t identity, std::span<const std::byte> image);
  /// `width` and `height` of the images, for `property`.
  void commit(int width = 112, int height = 112);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pfc
