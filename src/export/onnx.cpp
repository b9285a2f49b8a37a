#include "pfc/export/onnx.h"

#include <span>
#include <string>

#include "export/onnx_trace.h"
#include "formats/onnx_graph.h"
#include "pfc/base/files.h"
#include "pfc/model/backbone.h"

namespace pfc {

OnnxSummary export_onnx(Backbone& backbone, const std::filesystem::path& path,
                        const OnnxOptions& options) {
  OnnxGraph graph = trace_onnx(backbone);
  fold_batch_norms(graph);
  if (options.float16) use_float16(graph);
  // Pixels and lengths stay in float32.
  if (options.normalize_embeddings) normalize_output(graph);
  if (options.normalize) normalize_input(graph);
  graph.batch = options.batch;
  const std::string file = encode_onnx(graph);
  write_file(path, file);
  return parse_onnx(std::as_bytes(std::span(file)), path.string());  // the path may be a pipe
}

}  // namespace pfc
