#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pfc/data/face_stream.h"
#include "pfc/data/image_codec.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// Embeds a face as its mean colour, so that a test can choose the direction of an embedding.
class Colour : public Backbone {
 public:
  torch::Tensor forward(torch::Tensor images) override {
    ++batches;
    return images.mean({2, 3});
  }

  int batches = 0;
};

struct Painted {
  std::int64_t identity;
  int red, green, blue;  // -100 to 100
};

/// Faces of one colour, named by their index. One without a colour does not decode.
class PaintedFaces final : public FaceSource {
 public:
  explicit PaintedFaces(std::vector<Painted> faces) : faces_(std::move(faces)) {}

  bool next(Face& face) override {
    if (i_ == faces_.size()) return false;
    const Painted& painted = faces_[i_];
    RgbImage image{kFaceSize, kFaceSize, {}};
    for (int i = 0; i < kFaceSize * kFaceSize; ++i) {
      for (const int value : {painted.red, painted.green, painted.blue})
        image.pixels.push_back(static_cast<std::uint8_t>(128 + value));
    }
    encoded_ = encode_png(image);
    const bool is_broken = painted.red == 0 && painted.green == 0 && painted.blue == 0;
    if (is_broken) encoded_.resize(20);
    face = {painted.identity, std::to_string(i_++), encoded_};
    return true;
  }
  StreamProgress progress() const override {
    return {static_cast<std::int64_t>(i_), static_cast<std::int64_t>(faces_.size())};
  }
  std::string passed_over() const override {  // known only at the end, as for a tar
    return i_ == faces_.size() ? "1 hidden file (.a)" : "";
  }

 private:
  std::vector<Painted> faces_;
  std::size_t i_ = 0;
  std::vector<std::byte> encoded_;
};

}  // namespace pfc
