#pragma once

#include <cstdint>
#include <filesystem>

#include "pfc/formats/onnx_file.h"

namespace pfc {

class Backbone;

struct OnnxOptions {
  /// The graph takes RGB pixels from 0 to 255 as float32 and begins with (x / 255 − 0.5) / 0.5.
  /// Without this option it takes the result of that formula.
  bool normalize = false;
  /// The embeddings have unit length.
  bool normalize_embeddings = false;
  /// The graph computes in float16, and its constants have that type: half the size. Input and
  /// output stay float32.
  bool float16 = false;
  /// N. 0: open.
  std::int64_t batch = 0;
};

/// Writes a network to an ONNX file: input `data` [N, 3, 112, 112] float32, output `embedding` [N,
/// embedding_size] float32. The opset of convolutional networks is 11, that of InsightFace's
/// models; that of vision transformers is 17, because they want LayerNormalization.
///
/// The network is run once in evaluation mode, and the operators that it calls are translated, so
/// your own networks need no code for this. A constant has its name in the state_dict; the weight
/// of a linear layer for tokens is transposed and its name ends in `.transposed`. A batch
/// normalisation is folded, in float64, where that is exact: into the convolution or linear layer
/// before it, or into the linear layer after it. One that stands before a convolution stays,
/// because the convolution pads with zeros after it. Returns what the file holds.
///
/// The file appears whole or not at all. Throws Error, naming it, if the network calls an operator
/// that cannot be translated here; and if a constant is too large for float16.
OnnxSummary export_onnx(Backbone& backbone, const std::filesystem::path& path,
                        const OnnxOptions& options = {});

}  // namespace pfc
