#include "data/pages_read.h"
#include "data/record_file.h"
#include "data/stream/sources.h"

namespace pfc {
namespace {

class RecSource final : public FaceSource {
 public:
  explicit RecSource(const std::filesystem::path& rec) : file_(rec), index_(file_.index()) {
    file_.mapped().expect(Access::kSequential);
  }

  bool next(Face& face) override {
    if (i_ == index_.size()) return false;
    const std::uint64_t offset = index_.offsets[i_];
    const ImageRecord record = file_.reader().image_record_at(offset, scratch_);
    face.identity = index_.identities[i_];
    face.name = std::to_string(index_.key(i_));
    face.image = record.image;
    pages_.read(offset, record.end);
    ++i_;
    return true;
  }

  StreamProgress progress() const override {
    return {static_cast<std::int64_t>(i_), static_cast<std::int64_t>(index_.size())};
  }

 private:
  RecordFile file_;
  PagesRead<RecordReader> pages_{file_.reader()};
  RecordIndex index_;
  std::size_t i_ = 0;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::unique_ptr<FaceSource> open_rec_faces(const std::filesystem::path& rec) {
  return std::make_unique<RecSource>(rec);
}

}  // namespace pfc
