#pragma once

#include <cstdint>

#include "pfc/data/image_codec.h"

namespace pfc {

/// A drawn face, 112 x 112, aligned like a crop of a photograph. The identity decides how head,
/// skin, hair, eyes, brows, nose and mouth look. The image decides pose, expression, light,
/// background, objects in front, blur and noise.
///
/// A pure function of (seed, identity, image): `identity` in [0, 2^32), `image` in [0, 2^31). Takes
/// about a millisecond; safe from several threads.
RgbImage synthetic_face(std::uint64_t seed, std::int64_t identity, std::int64_t image);

}  // namespace pfc
