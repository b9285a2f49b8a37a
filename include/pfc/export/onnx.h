#pragma once

#include <filesystem>

#include "pfc/formats/onnx_file.h"

namespace pfc {

class Backbone;

struct OnnxOptions {
  /// The graph takes RGB pixels from 0 to 255 as float32 and begins with (x / 255 − 0.5) / 0.5.
  /// Without this option it takes the result of that formula.
  bool normalize = false;
};

/// Writes a convolutional network to an ONNX file: input `data` [N, 3, 112, 112] float32, output
/// `embedding` [N, embedding_size] float32, N open. The opset is 11, that of InsightFace's models.
///
/// The network is run once in evaluation mode, and the operators that it calls are translated, so
/// your own networks need no code for this. A constant has its name in the state_dict. A batch
/// normalisation is folded, in float64, where that is exact: into the convolution or linear layer
/// before it, or into the linear layer after it. One that stands before a convolution stays,
/// because the convolution pads with zeros after it. Returns what the file holds.
///
/// The file appears whole or not at all. Throws Error if the network calls an operator that cannot
/// be translated here, as vision transformers do.
OnnxSummary export_onnx(Backbone& backbone, const std::filesystem::path& path,
                        const OnnxOptions& options = {});

}  // namespace pfc
