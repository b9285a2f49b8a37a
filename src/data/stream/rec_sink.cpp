#include <optional>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/data/face_stream.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/record_io.h"

namespace pfc {
namespace {

class RecSink final : public FaceSink {
 public:
  RecSink(const std::filesystem::path& rec, std::function<void(const Face&)> on_unreadable)
      : writer_(rec), on_unreadable_(std::move(on_unreadable)) {}

  void add(const Face& face) override {
    check_size(face);
    writer_.add(face.identity, face.image);
  }

  void commit() override {
    const ImageSize size = size_.value_or(ImageSize{kFaceSize, kFaceSize});
    writer_.commit(size.width, size.height);
  }

 private:
  void check_size(const Face& face) {
    ImageSize size;
    try {
      size = image_size(face.image);
    } catch (const Error&) {
      if (on_unreadable_) on_unreadable_(face);
      return;
    }
    if (!size_) {
      size_ = size;
      first_ = face.name;
    } else if (size != *size_) {
      const auto text = [](const ImageSize& of) {
        return std::to_string(of.width) + " x " + std::to_string(of.height);
      };
      throw Error("image " + face.name + " is " + text(size) + " pixels and " + first_ + " is " +
                  text(*size_) + ", want one size for all: align them first");
    }
  }

  FaceRecordWriter writer_;
  std::function<void(const Face&)> on_unreadable_;
  std::optional<ImageSize> size_;
  std::string first_;  // the image whose size it is
};

}  // namespace

std::unique_ptr<FaceSink> make_rec_sink(const std::filesystem::path& rec,
                                        std::function<void(const Face&)> on_unreadable) {
  return std::make_unique<RecSink>(rec, std::move(on_unreadable));
}

}  // namespace pfc
