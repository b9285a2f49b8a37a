#pragma once

#include "pfc/base/names.h"

namespace pfc {

/// What a GPU's GEMMs take in; their results, and everything around them, are in float32. On the
/// CPU they take float32.
enum class GemmInput {
  kBFloat16,
  kFloat16,  ///< finer, but probabilities below 2e-12 are lost
  kTF32,     ///< float32, of which the multiplication uses 10 bits of precision
  kFloat32,
};

template <>
struct Names<GemmInput> {
  static constexpr auto kAll = named_values<GemmInput>({{GemmInput::kBFloat16, "bfloat16"},
                                                        {GemmInput::kFloat16, "float16"},
                                                        {GemmInput::kTF32, "tf32"},
                                                        {GemmInput::kFloat32, "float32"}});
};

}  // namespace pfc
