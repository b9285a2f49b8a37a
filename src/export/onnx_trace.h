#pragma once

#include "export/onnx_graph.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// What a network calls in evaluation mode, in ONNX's terms and in its order; nothing is folded.
/// The network is given back in the mode it came in. Throws what export_onnx throws.
OnnxGraph trace_onnx(Backbone& backbone);

}  // namespace pfc
