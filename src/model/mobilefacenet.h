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

/// The numbers that distinguish MobileFaceNets.
struct MobileFaceNetShape {
  std::array<std::int64_t, 4> blocks;  ///< bottlenecks that keep size and width, at 56, 28, 14, 7
  std::int64_t scale;                  ///< widths are 64 and 128 times this
};

struct NamedMobileFaceNet {
  std::string name;
  MobileFaceNetShape shape;
};

/// InsightFace's MobileFaceNets.
const std::vector<NamedMobileFaceNet>& named_mobilefacenets();

/// Inverted bottlenecks with PReLU, and a depthwise convolution over the whole last map (Chen et
/// al., "MobileFaceNets", CCBR 2018), with the widths and order of InsightFace's PyTorch model.
std::shared_ptr<Backbone> make_mobilefacenet(const MobileFaceNetShape& shape,
                                             std::int64_t embedding_size, std::uint64_t seed);
/// The operators of such a network, in the order of the calls.
OnnxGraph mobilefacenet_graph(const MobileFaceNetShape& shape, std::int64_t embedding_size);
/// The embedding size, if the tensors belong to such a network.
std::optional<std::int64_t> mobilefacenet_embedding_size(const MobileFaceNetShape& shape,
                                                         const TensorShapes& tensors);

}  // namespace pfc
