#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/tensor_shapes.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The numbers that distinguish the residual networks of face.evoLVe and AdaFace.
struct IrShape {
  std::array<std::int64_t, 4> blocks;  ///< residual blocks of each stage
  /// face.evoLVe's have no normalisation between a block's first convolution and its PReLU, and a
  /// scale and a shift in the last one; AdaFace's are the other way round.
  bool is_evolve = false;
};

struct NamedIr {
  std::string name;
  IrShape shape;
};

/// AdaFace's ir_18 to ir_101, and face.evoLVe's, whose names end in _evolve.
const std::vector<NamedIr>& named_irs();

/// The iResNet of face.evoLVe and AdaFace: other names, and where a block makes its map smaller but
/// not wider, its shortcut takes every second pixel, without weights. AdaFace's trained networks
/// take BGR.
std::shared_ptr<Backbone> make_ir(const IrShape& shape, std::int64_t embedding_size,
                                  std::uint64_t seed);
/// The embedding size, if the tensors belong to such a network.
std::optional<std::int64_t> ir_embedding_size(const IrShape& shape, const TensorShapes& tensors);

}  // namespace pfc
