#pragma once

#include "formats/onnx_graph.h"
#include "pfc/model/backbone.h"

namespace pfc {

/// The operators that a network calls in evaluation mode, as an ONNX graph in the order of the
/// calls; nothing is folded. The network returns to its former mode. Throws what export_onnx
/// throws.
OnnxGraph trace_onnx(Backbone& backbone);

}  // namespace pfc
