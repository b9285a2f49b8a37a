#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "formats/onnx_graph.h"

namespace pfc {

/// What a graph of a file has in common with a network.
struct OnnxMatch {
  /// Whether the network computes what the file does if its constants are those of `constants`.
  bool is_whole() const { return problem.empty(); }

  /// How many of the network's nodes were found in the file, from its beginning.
  std::int64_t nodes = 0;
  /// By the network's names. They lie in the file's graph or in `made`.
  std::map<std::string, const OnnxGraph::Constant*> constants;
  std::deque<OnnxGraph::Constant> made;
  /// The first node of the file that is not the network's, and why.
  std::string place, problem;
};

/// Compares a graph of decode_onnx with `network`, which is written as layers are called: without
/// values, and with every normalisation. Names play no part. The file's normalisations may be
/// folded into the layer before them, or into the linear layer after them.
///
/// The file's network may take the input of `network`, pixels in [-1, 1], or begin with what makes
/// that of pixels from 0 to 255 or from 0 to 1. A scale by which it differs goes into the first
/// convolution. The input must become 0 where ours does, because that is what the convolution pads
/// with.
OnnxMatch match_onnx(const OnnxGraph& file, const OnnxGraph& network);

}  // namespace pfc
