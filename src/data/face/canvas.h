#pragma once

#include <algorithm>
#include <vector>

#include "data/face/vec3.h"
#include "pfc/data/image_codec.h"

namespace pfc::face {

/// What is known about a pixel before it is lit.
struct Pixel {
  Rgb colour;
  Vec3 normal{0, 0, 1};  ///< of any length, in the viewer's coordinates
  float gloss = 0;       ///< share of the key light that is mirrored
  float x = 0, y = 0;    ///< in the viewer's plane, in head units
  Vec3 head{0, 0, -1};   ///< the visible point of the head; z < 0 if there is none
};

/// Pixels [left, right) x [top, bottom).
struct Box {
  int left = 0, top = 0, right = kFaceSize, bottom = kFaceSize;
};

class Canvas {
 public:
  Canvas() : pixels_(std::size_t{kFaceSize} * kFaceSize) {}

  const std::vector<Pixel>& pixels() const { return pixels_; }

  template <class Paint>
  void each(Box box, const Paint& paint) {
    const int left = std::max(box.left, 0), right = std::min(box.right, kFaceSize);
    const int bottom = std::min(box.bottom, kFaceSize);
    for (int y = std::max(box.top, 0); y < bottom; ++y) {
      Pixel* row = pixels_.data() + std::size_t{kFaceSize} * static_cast<unsigned>(y);
      for (int x = left; x < right; ++x) paint(row[x]);
    }
  }

 private:
  std::vector<Pixel> pixels_;  ///< [112, 112]
};

/// Puts a layer of material over the pixel, with opacity `alpha`.
inline void cover(Pixel& pixel, Rgb colour, Vec3 normal, float gloss, float alpha) {
  pixel.colour = mix(pixel.colour, colour, alpha);
  pixel.normal = mix(pixel.normal, normal, alpha);
  pixel.gloss = mix(pixel.gloss, gloss, alpha);
}

/// Colours what is already there.
inline void tint(Pixel& pixel, Rgb colour, float alpha) {
  pixel.colour = mix(pixel.colour, colour, alpha);
}

/// A drawn outline: the share of light that a surface loses as it turns away from the viewer.
constexpr float ink(Vec3 normal) {
  return 0.45f * (1.0f - smooth_step(0.0f, 0.45f, normal.z));
}

inline void darken(Pixel& pixel, float share) {
  pixel.colour = pixel.colour * (1.0f - share);
}

}  // namespace pfc::face
