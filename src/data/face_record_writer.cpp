#include <string>

#include "data/buffered_file.h"
#include "data/little_endian.h"
#include "data/record_index.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

void remove_if_there(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) throw Error(path.string() + ": cannot remove: " + error.message());
}

}  // namespace

struct FaceRecordWriter::State {
  explicit State(const std::filesystem::path& path)
      : rec_path(path),
        idx_path(idx_path_of(path)),
        property_path(property_path_of(path)),
        rec(path),
        idx(idx_path) {}

  void write(std::uint64_t key, float label, std::uint64_t id2, std::span<const std::byte> image) {
    payload.clear();
    append(payload, std::uint32_t{0});
    append(payload, label);
    append(payload, key);
    append(payload, id2);
    payload.insert(payload.end(), image.begin(), image.end());
    write_payload(key);
  }

  void write_range(std::uint64_t key, std::uint64_t first, std::uint64_t last, std::uint64_t id2) {
    payload.clear();
    append(payload, std::uint32_t{2});
    append(payload, 0.0f);
    append(payload, key);
    append(payload, id2);
    append(payload, static_cast<float>(first));
    append(payload, static_cast<float>(last));
    write_payload(key);
  }

  void write_payload(std::uint64_t key) {
    const std::string line = std::to_string(key) + "\t" + std::to_string(rec.size()) + "\n";
    append_record(payload, rec.buffer());
    const auto text = std::as_bytes(std::span(line));
    idx.buffer().insert(idx.buffer().end(), text.begin(), text.end());
    rec.settle();
    idx.settle();
  }

  std::filesystem::path rec_path, idx_path, property_path;
  BufferedFile rec, idx;
  std::vector<std::uint64_t> first_keys;  // of each identity
  std::uint64_t next_key = 1;
  std::vector<std::byte> payload;
};

FaceRecordWriter::FaceRecordWriter(const std::filesystem::path& rec)
    : state_(std::make_unique<State>(rec)) {}
FaceRecordWriter::~FaceRecordWriter() = default;

void FaceRecordWriter::add(std::int32_t identity, std::span<const std::byte> image) {
  State& s = *state_;
  const auto identities = static_cast<std::int64_t>(s.first_keys.size());
  if (identity < 0 || identity < identities - 1 || identity > identities) {
    throw Error(s.rec_path.string() + ": an image of identity " + std::to_string(identity) +
                " after " + std::to_string(identities) + " identities, want them in order from 0");
  }
  if (identity > kLargestLabel) {
    throw Error(s.rec_path.string() + ": identity " + std::to_string(identity) +
                ", a .rec can label none above " + std::to_string(kLargestLabel));
  }
  if (identity == identities) s.first_keys.push_back(s.next_key);
  s.write(s.next_key, static_cast<float>(identity), 0, image);
  ++s.next_key;
}

void FaceRecordWriter::commit() {
  State& s = *state_;
  if (s.first_keys.empty()) throw Error(s.rec_path.string() + ": no images were added");
  const std::uint64_t first_identity_key = s.next_key;
  const std::size_t identities = s.first_keys.size();
  s.first_keys.push_back(first_identity_key);
  for (std::size_t c = 0; c < identities; ++c) {
    s.write_range(first_identity_key + c, s.first_keys[c], s.first_keys[c + 1], 0);
  }
  s.write_range(0, first_identity_key, first_identity_key + identities, 1);
  // A .rec without its .idx and property is whole: the index is rebuilt from it. One beside those
  // of another is not.
  remove_if_there(s.idx_path);
  remove_if_there(s.property_path);
  s.rec.commit();
  s.idx.commit();
  AtomicFile property(s.property_path);
  property.write(std::to_string(identities) + "," + std::to_string(kFaceSize) + "," +
                 std::to_string(kFaceSize) + "\n");
  property.commit();
}

}  // namespace pfc
