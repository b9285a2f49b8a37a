#pragma once

#include <cstdint>

#include "pfc/data/image_codec.h"

namespace pfc {

/// A drawn face, 112 x 112, aligned as crops of photographs are. What the head, skin, hair, eyes,
/// brows, nose and mouth look like belongs to the identity; pose, expression, light, background,
/// what is in the way, blur and noise belong to the image.
///
/// A pure function of (seed, identity, image): `identity` in [0, 2^32), `image` in [0, 2^31). Takes
/// about a millisecond; safe from several threads.
RgbImage synthetic_face(std::uint64_t seed, std::int64_t identity, std::int64_t image);

}  // namespace pfc
