#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/onnx_graph.h"
#include "model/tensor_shapes.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The numbers that distinguish iResNets.
struct IResNetShape {
  std::array<std::int64_t, 4> blocks;                        ///< residual blocks of each stage
  std::array<std::int64_t, 4> widths = {64, 128, 256, 512};  ///< channels of each stage
  std::array<std::int64_t, 4> strides = {2, 2, 2, 2};        ///< of each stage's first block
  std::int64_t stem_stride = 1;
};

struct NamedIResNet {
  std::string name;
  IResNetShape shape;
};

/// InsightFace's iResNets, and `tiny`.
const std::vector<NamedIResNet>& named_iresnets();

/// The improved residual network of face recognition: BN before the first convolution of a block,
/// PReLU, no activation after the sum, and a linear layer over the last 7 × 7 map (Deng et al.,
/// "ArcFace", CVPR 2019).
std::shared_ptr<Backbone> make_iresnet(const IResNetShape& shape, std::int64_t embedding_size,
                                       std::uint64_t seed);
/// The operators of such a network, in the order of the calls.
OnnxGraph iresnet_graph(const IResNetShape& shape, std::int64_t embedding_size);
/// The embedding size, if the tensors belong to such a network.
std::optional<std::int64_t> iresnet_embedding_size(const IResNetShape& shape,
                                                   const TensorShapes& tensors);

}  // namespace pfc
