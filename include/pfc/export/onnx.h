#pragma once

#include <filesystem>

#include "pfc/export/onnx_file.h"

namespace pfc {

class Backbone;

struct OnnxOptions {
  /// The graph takes RGB pixels from 0 to 255, as float32, and begins with (x / 255 − 0.5) / 0.5;
  /// else it takes what that gives.
  bool normalize = false;
};

/// Writes a convolutional network to an ONNX file: input `data` [N, 3, 112, 112] float32, output
/// `embedding` [N, embedding_size] float32, N open; in the opset that the field's models have (11).
///
/// The network is run once, in evaluation mode, and what it calls is translated, so that one of
/// your own needs no code for this. A constant bears its name in the state_dict. A batch
/// normalisation is folded, in float64, where that is exact: into a convolution or linear layer
/// before it, or into a linear layer behind it. One before a convolution stays, since zero padding
/// comes after it. Returns what the file holds.
///
/// The file appears whole or not at all. Throws Error where the network calls an operator that has
/// no form in ONNX here, as vision transformers do.
OnnxSummary export_onnx(Backbone& backbone, const std::filesystem::path& path,
                        const OnnxOptions& options = {});

}  // namespace pfc
