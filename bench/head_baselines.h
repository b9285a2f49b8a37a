#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

namespace pfc {

/// The defaults are those of PartialFcOptions.
struct BaselineOptions {
  double sample_rate = 1;
  double margin = 0.4;  ///< CosFace's
  double scale = 64;
  double lr = 0.1;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  at::ScalarType gemm = at::kFloat;  ///< what logits are multiplied in
};

/// Partial FC written in plain LibTorch, for comparison with the head. A sample rate below 1 draws
/// the batch's own classes, and random others up to that share of all; 1 uses the whole table.
class HeadBaseline {
 public:
  struct Step {
    at::Tensor loss;          ///< scalar
    at::Tensor d_embeddings;  ///< [B, d]
  };

  virtual ~HeadBaseline() = default;
  /// embeddings [B, d] float32; labels [B] int64.
  virtual Step step(const at::Tensor& embeddings, const at::Tensor& labels) = 0;
};

/// Today's public code (`PartialFC_V2` of InsightFace's arcface_torch): autograd through the
/// sampled rows of one parameter, which gives a gradient of the whole table, and torch.optim's SGD
/// over the whole table. weights [C, d] float32 are trained in place.
std::unique_ptr<HeadBaseline> make_dense_baseline(const BaselineOptions& options,
                                                  const at::Tensor& weights);

/// Earlier public code (`PartialFC`): the sampled rows and their momentum are copied out of the
/// tables, trained, and copied back. weights [C, d] float32 are trained in place.
std::unique_ptr<HeadBaseline> make_gather_baseline(const BaselineOptions& options,
                                                   const at::Tensor& weights);

}  // namespace pfc
