#pragma once

#include "data/face/canvas.h"
#include "data/face/head_view.h"
#include "data/face/traits.h"

namespace pfc::face {

/// A part of the face around (x, y). A part raised from the skin by `lift` shifts when the head
/// turns.
struct Patch {
  float x, y, reach_x, reach_y;
  float lift = 0;
};

/// One face that is being painted, from the back to the front.
struct Scene {
  const Identity& who;
  const Conditions& how;
  const HeadView& view;
  Canvas& canvas;

  /// Calls `paint(pixel, dx, dy)` for the pixels of a patch; dx, dy count from its middle.
  template <class Paint>
  void near(const Patch& patch, const Paint& paint) const {
    const Vec3 shift = view.parallax(patch.lift);
    const float x = patch.x + shift.x, y = patch.y + shift.y;
    canvas.each(view.box(view.project(x, y, 0), patch.reach_x, patch.reach_y), [&](Pixel& pixel) {
      if (pixel.head.z > 0) paint(pixel, pixel.head.x - x, pixel.head.y - y);
    });
  }
};

// Each function adds a layer to the canvas.

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

/// A bump of the skin: tilts the normals.
void emboss(const Scene& scene, const Patch& patch, float height);
/// A soft spot of colour.
void glow(const Scene& scene, const Patch& patch, Rgb colour, float alpha);

}  // namespace pfc::face
