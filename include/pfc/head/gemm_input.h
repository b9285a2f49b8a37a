#pragma once

#include "pfc/base/names.h"

namespace pfc {

/// The input type of a GPU's GEMMs. Their results, and everything around them, are float32. On a
/// CPU the GEMMs take float32.
enum class GemmInput {
  kBFloat16,
  kFloat16,  ///< finer, but probabilities below 2e-12 are lost
  kTF32,     ///< float32, but the multiplication uses only 10 bits of precision
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
