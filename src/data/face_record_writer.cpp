#include <algorithm>
#include <deque>
#include <numeric>
#include <string>

#include "base/little_endian.h"
#include "data/buffered_file.h"
#include "data/record_index.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

constexpr std::uint64_t kIdOffset = 16;  // of the id, within a record that is not split before it

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
        rec(path) {}

  std::size_t images() const { return identities.size(); }

  void write_image(std::uint64_t key, std::int32_t identity, std::span<const std::byte> image) {
    payload.clear();
    append(payload, std::uint32_t{0});
    append(payload, static_cast<float>(identity));
    append(payload, key);
    append(payload, identity > kLargestLabel ? static_cast<std::uint64_t>(identity) : 0);
    payload.insert(payload.end(), image.begin(), image.end());
    write_payload();
  }

  void write_range(std::uint64_t key, std::uint64_t first, std::uint64_t last, std::uint64_t id2) {
    payload.clear();
    append(payload, std::uint32_t{2});
    append(payload, 0.0f);
    append(payload, key);
    append(payload, id2);
    append(payload, static_cast<float>(first));
    append(payload, static_cast<float>(last));
    write_payload();
  }

  void write_payload() {
    append_record(payload, rec.buffer());
    rec.settle();
  }

  /// The number of images before each identity, and of all.
  std::vector<std::uint32_t> images_before() const {
    std::vector<std::uint32_t> before(static_cast<std::size_t>(most) + 2);
    for (const std::int32_t identity : identities) ++before[static_cast<std::size_t>(identity) + 1];
    std::partial_sum(before.begin(), before.end(), before.begin());
    return before;
  }

  std::filesystem::path rec_path, idx_path, property_path;
  BufferedFile rec;
  std::deque<std::int32_t>
      identities;                     // [images]; a growing vector would need memory for two copies
  std::deque<std::uint64_t> offsets;  // [images]
  std::int32_t most = -1;             // the largest identity
  std::vector<std::byte> payload;
};

FaceRecordWriter::FaceRecordWriter(const std::filesystem::path& rec)
    : state_(std::make_unique<State>(rec)) {}
FaceRecordWriter::~FaceRecordWriter() = default;

void FaceRecordWriter::add(std::int64_t identity, std::span<const std::byte> image) {
  State& s = *state_;
  if (identity < 0 || identity >= kMostIdentities) {
    throw Error(s.rec_path.string() + ": an image of identity " + std::to_string(identity) +
                ", want one from 0 to " + std::to_string(kMostIdentities - 1));
  }
  const std::uint64_t offset = s.rec.size();
  s.write_image(s.images() + 1, static_cast<std::int32_t>(identity), image);
  s.offsets.push_back(offset);
  s.identities.push_back(static_cast<std::int32_t>(identity));
  s.most = std::max(s.most, s.identities.back());
}

void FaceRecordWriter::commit(int width, int height) {
  State& s = *state_;
  if (s.images() == 0) throw Error(s.rec_path.string() + ": no images were added");
  const auto identities = static_cast<std::size_t>(s.most) + 1;
  if (identities > s.images() + static_cast<std::size_t>(kLargestLabel)) {
    throw Error(s.rec_path.string() + ": an image of identity " + std::to_string(s.most) +
                " among " + counted(s.images(), "image") +
                "; the set needs a record for every identity up to it: number them closer");
  }
  const std::vector<std::uint32_t> before = s.images_before();
  BufferedFile idx(s.idx_path);
  const auto list = [&](std::uint64_t key, std::uint64_t offset) {
    idx.write(idx_line(key, offset));
  };
  std::vector<std::uint32_t> keys = before;  // the last key given to an image of each identity
  for (std::size_t i = 0; i < s.images(); ++i) {
    const std::uint64_t key = ++keys[static_cast<std::size_t>(s.identities[i])];
    list(key, s.offsets[i]);
    if (key == i + 1) continue;  // as it was written
    std::vector<std::byte> id;
    append(id, key);
    s.rec.write_at(s.offsets[i] + kIdOffset, id);
  }
  const std::uint64_t first = s.images() + 1;
  for (std::size_t c = 0; c < identities; ++c) {
    list(first + c, s.rec.size());
    s.write_range(first + c, 1 + before[c], 1 + before[c + 1], 0);
  }
  list(0, s.rec.size());
  s.write_range(0, first, first + identities, s.most > kLargestLabel ? kExactLabels : 1);

  // A .rec without its .idx and property is complete: the index is rebuilt from it. A .rec beside
  // the files of another one is not.
  remove_if_there(s.idx_path);
  remove_if_there(s.property_path);
  s.rec.commit();
  idx.commit();
  AtomicFile property(s.property_path);
  property.write(std::to_string(identities) + "," + std::to_string(height) + "," +
                 std::to_string(width) + "\n");
  property.commit();
}

}  // namespace pfc
