#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "pfc/head/partial_fc.h"

namespace pfc {

struct Training;

/// The backbone's part of a step: from pixels to embeddings, and back to the gradients of its
/// parameters.
class BackbonePass {
 public:
  virtual ~BackbonePass() = default;
  BackbonePass(const BackbonePass&) = delete;
  BackbonePass& operator=(const BackbonePass&) = delete;

  /// pixels [b, 112, 112, 3] uint8, on the backbone's device -> [b, d] unit rows, and the lengths
  /// [b] where the loss uses them. They are overwritten by the next call.
  virtual Embeddings forward(const at::Tensor& pixels) = 0;
  /// Adds the gradients of one micro-batch to the backbone's, from those by what `forward` gave:
  /// d_unit [b, d], and d_lengths [b] where the loss has such a gradient. After the last
  /// micro-batch of a step the gradients are sums over ranks.
  virtual void backward(const at::Tensor& d_unit, const at::Tensor& d_lengths, bool is_last) = 0;

 protected:
  BackbonePass() = default;
};

/// Operator by operator, as PyTorch does it.
std::unique_ptr<BackbonePass> make_plain_pass(Training& training);
/// On a GPU it is recorded, where the network and the communicator are recordable: the first
/// micro-batch runs plainly, so that libraries choose their algorithms; the second is recorded, and
/// from then on the host launches two graphs. A recorded pass needs about the memory of a plain
/// one, whose memory is given back before.
std::unique_ptr<BackbonePass> make_backbone_pass(Training& training);

}  // namespace pfc
