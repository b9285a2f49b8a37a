#include "pfc/data/record_shuffle.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "data/buffered_file.h"
#include "data/pages_read.h"
#include "data/record_file.h"
#include "pfc/base/error.h"
#include "pfc/base/paths.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

using Buffer = std::vector<std::byte>;

/// Every record with its key, in the order of the file.
RecordList records_of(const RecordFile& file) {
  const fs::path idx = idx_path_of(file.mapped().path());
  if (!fs::exists(idx)) {
    throw Error(idx.string() + ": not found; `pfc data pack` of the .rec writes one with its .idx");
  }
  file.index();  // throws if the two do not belong together
  RecordList records = read_idx(idx);
  records.sort_by_offset();
  return records;
}

const fs::path& in_made_folder(const fs::path& path) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  return path;
}

class Shuffle {
 public:
  explicit Shuffle(const RecordShuffleOptions& options)
      : options_(options),
        random_(options.seed, RandomStream::kRecordOrder),
        from_(options.from),
        records_(records_of(from_)),
        to_(in_made_folder(options.to)),
        idx_(idx_path_of(options.to)) {
    const std::uint64_t bytes = from_.reader().size();
    parts_.resize(static_cast<std::size_t>(bytes / options.memory_bytes + 1));
    room_ = std::max<std::uint64_t>(options.memory_bytes / parts_.size(), 4096);
    total_ = static_cast<std::int64_t>(2 * bytes);
  }

  std::int64_t run() {
    plan_parts();
    deal();
    std::uint64_t end = 0;
    for (Part& part : parts_) end = mix(part, end);
    to_.resize(end);
    commit();
    return std::ssize(records_.keys);
  }

 private:
  /// Records that are mixed with each other.
  struct Part {
    std::uint64_t begin = 0;               // in the new file
    std::uint64_t size = 0;                // of the records assigned to it
    Buffer waiting;                        // the last of those, not yet written
    std::vector<std::uint32_t> keys = {};  // in the order in which they came
  };

  Part& part_of(std::size_t record) {
    return parts_[static_cast<std::size_t>(random_.below(std::ssize(parts_), 0, record))];
  }

  /// Places each part after the space that the parts before it can need.
  void plan_parts() {
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const std::uint64_t end =
          i + 1 < records_.size() ? records_.offsets[i + 1] : from_.reader().size();
      part_of(i).begin += end - records_.offsets[i];
    }
    std::uint64_t begin = 0;
    for (Part& part : parts_) begin += std::exchange(part.begin, begin);
  }

  void deal() {
    from_.mapped().expect(Access::kSequential);
    for (Part& part : parts_) part.waiting.reserve(room_);
    Buffer scratch;
    PagesRead pages(from_.reader());
    for (std::size_t i = 0; i < records_.size(); ++i) {
      const std::uint64_t offset = records_.offsets[i];
      const std::uint64_t end = from_.reader().record_at(offset, scratch).end;
      const auto bytes = from_.mapped().bytes().subspan(offset, end - offset);
      Part& part = part_of(i);
      if (part.waiting.size() + bytes.size() > room_) flush(part);
      part.waiting.insert(part.waiting.end(), bytes.begin(), bytes.end());
      part.keys.push_back(records_.keys[i]);
      pages.read(offset, end);
      count(bytes.size());
    }
    for (Part& part : parts_) {
      flush(part);
      Buffer().swap(part.waiting);
    }
  }

  void flush(Part& part) {
    to_.write_at(part.begin + part.size, part.waiting);
    part.size += part.waiting.size();
    part.waiting.clear();
  }

  /// Puts the records of a part in random order, beginning at `begin`, which is not after the
  /// part's own place. Returns where they end.
  std::uint64_t mix(Part& part, std::uint64_t begin) {
    Buffer bytes(part.size);
    to_.read_at(part.begin, bytes);
    const RecordReader reader(bytes, options_.to.string());
    struct Placed {
      std::uint64_t offset, end;
      std::uint32_t key;
    };
    std::vector<Placed> placed;
    Buffer scratch;
    for (std::uint64_t offset = 0; const std::uint32_t key : part.keys) {
      const std::uint64_t end = reader.record_at(offset, scratch).end;
      placed.push_back({offset, end, key});
      offset = end;
    }
    const auto part_number = static_cast<std::uint64_t>(&part - parts_.data());
    for (std::size_t i = placed.size(); i > 1; --i) {
      const auto other = random_.below(static_cast<std::int64_t>(i), 1 + part_number, i);
      std::swap(placed[i - 1], placed[static_cast<std::size_t>(other)]);
    }
    Buffer out;
    for (const Placed& record : placed) {
      if (out.size() >= kWrite) {
        to_.write_at(begin, out);
        begin += out.size();
        out.clear();
      }
      idx_.write(idx_line(record.key, begin + out.size()));
      const auto of = std::span(bytes).subspan(record.offset, record.end - record.offset);
      out.insert(out.end(), of.begin(), of.end());
      count(of.size());
    }
    to_.write_at(begin, out);
    std::vector<std::uint32_t>().swap(part.keys);
    return begin + out.size();
  }

  void count(std::size_t bytes) {
    done_ += static_cast<std::int64_t>(bytes);
    options_.progress(done_, total_);
  }

  void commit() {
    const fs::path property = property_path_of(options_.from);
    to_.commit();
    idx_.commit();
    if (is_there(property)) write_file(property_path_of(options_.to), read_file(property));
  }

  static constexpr std::size_t kWrite = std::size_t{1} << 20;

  const RecordShuffleOptions& options_;
  CounterRandom random_;
  RecordFile from_;
  RecordList records_;
  AtomicFile to_;
  BufferedFile idx_;
  std::vector<Part> parts_;
  std::uint64_t room_ = 0;  // for a part's bytes that wait
  std::int64_t done_ = 0, total_ = 0;
};

}  // namespace

std::int64_t shuffle_records(const RecordShuffleOptions& options) {
  for (const fs::path& path : {options.to, idx_path_of(options.to)}) {
    if (is_there(path))
      throw Error(path.string() + " is there already; name another, or remove it first");
  }
  return Shuffle(options).run();
}

}  // namespace pfc
