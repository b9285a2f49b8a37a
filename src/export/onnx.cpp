#include "pfc/export/onnx.h"

#include "export/onnx_graph.h"
#include "export/onnx_trace.h"
#include "pfc/base/files.h"
#include "pfc/model/backbone.h"

namespace pfc {

void export_onnx(Backbone& backbone, const std::filesystem::path& path,
                 const OnnxOptions& options) {
  OnnxGraph graph = trace_onnx(backbone);
  fold_batch_norms(graph);
  if (options.normalize) normalize_input(graph);
  write_file(path, encode_onnx(graph));
}

}  // namespace pfc
