#pragma once

#include <cstdint>

#include "data/face/canvas.h"
#include "data/face/traits.h"
#include "pfc/base/random.h"

namespace pfc::face {

/// Lights the canvas and takes the photograph: light, blur, exposure, colour, noise. The noise uses
/// the numbers of `random` at the counters (a, b), (a, b + 1), …
RgbImage photograph(const Canvas& canvas, const Conditions& how, const CounterRandom& random,
                    std::uint64_t a, std::uint64_t b);

}  // namespace pfc::face
