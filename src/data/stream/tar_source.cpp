#include "data/stream/tar_source.h"

#include <utility>

#include "base/shown.h"
#include "data/image_file.h"
#include "data/stream/sources.h"
#include "data/whole_number.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestLabel = 32;  // characters

/// "a/b/0001" of "a/b/0001.seg.jpg".
std::string sample_of(const std::string& path) {
  const std::size_t file = path.rfind('/') + 1;  // 0 where there is none
  return path.substr(0, path.find('.', file));
}

}  // namespace

TarSource::TarSource(std::string name, Open open, std::int64_t total_bytes)
    : name_(std::move(name)), open_(std::move(open)), total_bytes_(total_bytes) {}

StreamProgress TarSource::progress() const {
  return {bytes_before_ + (tar_ ? tar_->bytes_read() : 0), total_bytes_};
}

std::string TarSource::passed_over() const {
  return others_.text();
}

bool TarSource::open_next() {
  if (tar_) bytes_before_ += tar_->bytes_read();
  tar_ = open_(shards_);
  if (tar_) ++shards_;
  return tar_.has_value();
}

/// Reads a file of the current sample.
void TarSource::take(const std::string& path) {
  const fs::path file(path);
  if (is_image_name(file)) {
    if (sample_.has_image) throw DataError(path, "sample", "has two images, want one");
    sample_.has_image = true;
    tar_->read(kRecordSizeLimit, sample_.image);
  } else if (file.extension() == ".cls") {
    std::vector<std::byte> text;
    tar_->read(kLongestLabel, text);
    const auto* begin = reinterpret_cast<const char*>(text.data());
    std::string_view digits(begin, text.size());
    while (digits.ends_with('\n') || digits.ends_with('\r') || digits.ends_with(' '))
      digits.remove_suffix(1);
    const auto identity = whole_number<std::int64_t>(digits);
    if (!identity || *identity >= kMostIdentities) {
      throw DataError(printable(path), "label",
                      "found " + shown(digits) + ", want a whole number below " +
                          std::to_string(kMostIdentities));
    }
    sample_.identity = identity;
  } else {
    others_.add(PassedOver::Kind::kOther, path);
  }
}

/// Ends the current sample. Returns whether it is complete; begins a new one.
bool TarSource::finish() {
  given_ = std::exchange(sample_, {});
  if (given_.has_image && !given_.identity)
    throw DataError(printable(given_.name), "sample", "has an image and no .cls with its identity");
  if (given_.identity && !given_.has_image)
    throw DataError(printable(given_.name), "sample", "has a .cls and no image");
  return given_.has_image;
}

bool TarSource::give(Face& face) {
  found_ = true;
  face.identity = *given_.identity;
  face.name = given_.name;
  face.image = given_.image;
  return true;
}

bool TarSource::end() const {
  if (found_) return false;
  throw Error(name_ + ": no samples, want images (" + std::string(kImageFormats) +
              ") and a .cls with its identity for each" +
              (passed_over().empty() ? "" : "; passed over: " + passed_over()));
}

bool TarSource::next(Face& face) {
  for (;;) {
    if (!tar_ && !open_next()) return end();
    std::optional<std::string> path = std::exchange(pending_, std::nullopt);
    if (!path) path = tar_->next();
    if (!path) {  // no sample continues into the next tar
      const bool complete = finish();
      open_next();
      if (complete) return give(face);
      if (!tar_) return end();
      continue;
    }
    if (is_hidden(*path)) {  // `._0001.jpg`, which a Mac writes before 0001.jpg
      others_.add(PassedOver::Kind::kHidden, *path);
      continue;
    }
    std::string name = sample_of(*path);
    if (name != sample_.name) {
      const bool complete = finish();
      sample_.name = std::move(name);
      if (complete) {
        pending_ = std::move(path);
        return give(face);
      }
    }
    take(*path);
  }
}

std::unique_ptr<FaceSource> open_tar_faces(std::vector<fs::path> shards) {
  std::int64_t bytes = 1;
  std::string name = shards.front().string();
  for (const fs::path& shard : shards) bytes += static_cast<std::int64_t>(fs::file_size(shard));
  return std::make_unique<TarSource>(
      std::move(name),
      [shards = std::move(shards)](std::size_t i) -> std::optional<TarReader> {
        if (i >= shards.size()) return std::nullopt;
        return TarReader::open(shards[i].string());
      },
      bytes);
}

}  // namespace pfc
