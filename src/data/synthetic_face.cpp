#include "pfc/data/synthetic_face.h"

#include "data/face/camera.h"
#include "data/face/paint.h"
#include "pfc/base/random.h"

namespace pfc {
namespace {

void paint(const face::Scene& scene) {
  paint_backdrop(scene);
  paint_back_hair(scene);
  paint_body(scene);
  paint_head(scene);
  paint_nose(scene);
  paint_beard(scene);
  paint_mouth(scene);
  paint_eyes(scene);
  paint_brows(scene);
  paint_mask(scene);
  paint_hair(scene);
  paint_glasses(scene);
  paint_occluder(scene);
}

}  // namespace

RgbImage synthetic_face(std::uint64_t seed, std::int64_t identity, std::int64_t image) {
  const face::Identity who = face::draw_identity(seed, identity);
  const face::Conditions how = face::draw_conditions(seed, identity, image);
  const face::HeadView view(who, how);
  face::Canvas canvas;
  paint({who, how, view, canvas});
  return face::photograph(canvas, how, CounterRandom(seed, RandomStream::kFaceNoise),
                          static_cast<std::uint64_t>(identity),
                          static_cast<std::uint64_t>(image) << 32);
}

}  // namespace pfc
