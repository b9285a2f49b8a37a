#pragma once

#include "data/face/canvas.h"
#include "data/face/head_view.h"
#include "data/face/traits.h"

namespace pfc::face {

/// One face that is being painted, from the back to the front.
struct Scene {
  const Identity& who;
  const Conditions& how;
  const HeadView& view;
  Canvas& canvas;

  /// Calls `paint(pixel, dx, dy)` for the pixels of the face near its point (x, y), which `lift`
  /// moves to where something above the skin is seen; dx, dy count from that point.
  template <class Paint>
  void near(float x, float y, float reach_x, float reach_y, float lift, const Paint& paint) const {
    const Vec3 shift = view.parallax(lift);
    x += shift.x;
    y += shift.y;
    canvas.each(view.box(view.project(x, y, 0), reach_x, reach_y), [&](Pixel& pixel) {
      if (pixel.head.z > 0) paint(pixel, pixel.head.x - x, pixel.head.y - y);
    });
  }
};

// Each adds a layer to the canvas.

void paint_backdrop(const Scene& scene);
void paint_back_hair(const Scene& scene);
void paint_body(const Scene& scene);
void paint_head(const Scene& scene);
void paint_eyes(const Scene& scene);
void paint_brows(const Scene& scene);
void paint_nose(const Scene& scene);
void paint_mouth(const Scene& scene);
void paint_beard(const Scene& scene);
void paint_mask(const Scene& scene);
void paint_hair(const Scene& scene);
void paint_glasses(const Scene& scene);
void paint_occluder(const Scene& scene);

/// A bump of the skin: tilts the normals around (x, y).
void emboss(const Scene& scene, float x, float y, float reach_x, float reach_y, float height,
            float lift = 0);
/// A soft spot of colour on the face.
void glow(const Scene& scene, float x, float y, float reach_x, float reach_y, Rgb colour,
          float alpha, float lift = 0);

}  // namespace pfc::face
