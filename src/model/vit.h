#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/tensor_shapes.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The numbers that distinguish vision transformers.
struct VitShape {
  std::int64_t dim;               ///< width of a token, a multiple of `heads`
  std::int64_t depth;             ///< number of blocks
  double stochastic_depth = 0.1;  ///< rate of the last block; it grows linearly from 0
  double hidden_share = 0.1;      ///< share of an image's tokens that are hidden in training
  std::int64_t heads = 8;
  /// Of what is added to the linear layers of attention and MLP, and then trains alone; 0: nothing
  /// is, and everything trains.
  std::int64_t lora_rank = 0;
};

struct NamedVit {
  std::string name;
  VitShape shape;
};

/// InsightFace's vision transformers.
const std::vector<NamedVit>& named_vits();

/// A transformer over 12 × 12 patches of 9 pixels, which cover 108 of the 112 pixels (Dosovitskiy
/// et al., "An image is worth 16×16 words", ICLR 2021), like InsightFace's PyTorch model: no class
/// token, ReLU6, and a linear layer over all tokens. In training each branch of a block is dropped
/// for some images and scaled up for the others (Huang et al., "Deep networks with stochastic
/// depth", ECCV 2016), and some tokens skip the blocks: a learned token replaces them in the head.
std::shared_ptr<Backbone> make_vit(const VitShape& shape, std::int64_t embedding_size,
                                   std::uint64_t seed);
/// The embedding size, if the tensors belong to such a network.
std::optional<std::int64_t> vit_embedding_size(const VitShape& shape, const TensorShapes& tensors);

}  // namespace pfc
