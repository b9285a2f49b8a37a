#include "pfc/formats/onnx_file.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>
#include <span>
#include <string>

#include "formats/float16.h"
#include "formats/onnx_graph.h"
#include "formats/onnx_model.h"
#include "pfc/base/error.h"
#include "pfc/base/file_kind.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

struct Version {
  int opset, ir;
};

/// ONNX 1.6 of 2019: InsightFace's models are exported as this, and runtimes of any age read it.
/// LayerNormalization came with ONNX 1.12 of 2022.
Version version_for(const OnnxGraph& graph) {
  const auto is_new = [](const OnnxGraph::Node& node) { return node.op == "LayerNormalization"; };
  return std::ranges::any_of(graph.nodes, is_new) ? Version{17, 8} : Version{11, 6};
}

constexpr std::size_t kMaxBytes = std::numeric_limits<int>::max();  // protobuf's limit

void set_attribute(onnx::AttributeProto& proto, const std::string& name,
                   const OnnxGraph::Attribute& attribute) {
  proto.set_name(name);
  if (const auto* number = std::get_if<float>(&attribute)) {
    proto.set_type(onnx::AttributeProto::FLOAT);
    proto.set_f(*number);
  } else if (const auto* integer = std::get_if<std::int64_t>(&attribute)) {
    proto.set_type(onnx::AttributeProto::INT);
    proto.set_i(*integer);
  } else {
    proto.set_type(onnx::AttributeProto::INTS);
    for (const std::int64_t i : std::get<std::vector<std::int64_t>>(attribute)) proto.add_ints(i);
  }
}

void set_port(onnx::ValueInfoProto& proto, const OnnxGraph::Port& port, std::int64_t batch) {
  proto.set_name(port.name);
  auto& type = *proto.mutable_type()->mutable_tensor_type();
  type.set_elem_type(onnx::TensorProto::FLOAT);
  auto& first = *type.mutable_shape()->add_dim();
  if (batch > 0) {
    first.set_dim_value(batch);
  } else {
    first.set_dim_param("N");
  }
  for (const std::int64_t extent : port.shape) {
    type.mutable_shape()->add_dim()->set_dim_value(extent);
  }
}

void set_constant(onnx::TensorProto& proto, const std::string& name,
                  const OnnxGraph::Constant& constant) {
  proto.set_name(name);
  for (const std::int64_t extent : constant.shape) proto.add_dims(extent);
  const auto write = [&](onnx::TensorProto::DataType type, auto rounded) {
    proto.set_data_type(type);
    std::string& bytes = *proto.mutable_raw_data();
    bytes.reserve(constant.values.size() * sizeof(rounded(0.0)));
    for (const double value : constant.values) {
      const auto number = rounded(value);
      bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
    }
  };
  switch (constant.type) {
    case OnnxGraph::Type::kFloat32:
      return write(onnx::TensorProto::FLOAT, [](double x) { return static_cast<float>(x); });
    case OnnxGraph::Type::kFloat16:
      return write(onnx::TensorProto::FLOAT16, to_float16);
    case OnnxGraph::Type::kInt64:
      return write(onnx::TensorProto::INT64, [](double x) { return static_cast<std::int64_t>(x); });
  }
}

onnx::ModelProto to_proto(const OnnxGraph& graph) {
  onnx::ModelProto model;
  const Version version = version_for(graph);
  model.set_ir_version(version.ir);
  model.set_producer_name("partial-fc");
  model.set_producer_version(PFC_VERSION);
  model.add_opset_import()->set_version(version.opset);
  auto& proto = *model.mutable_graph();
  proto.set_name(graph.network);
  set_port(*proto.add_input(), graph.input, graph.batch);
  set_port(*proto.add_output(), graph.output, graph.batch);
  for (const auto& node : graph.nodes) {
    auto& to = *proto.add_node();
    to.set_name(node.op + "_" + std::to_string(proto.node_size() - 1));
    to.set_op_type(node.op);
    for (const auto& input : node.inputs) to.add_input(input);
    to.add_output(node.output);
    for (const auto& [name, attribute] : node.attributes) {
      set_attribute(*to.add_attribute(), name, attribute);
    }
  }
  for (const auto& [name, constant] : graph.constants) {
    set_constant(*proto.add_initializer(), name, constant);
  }
  return model;
}

OnnxPort port_of(const onnx::ValueInfoProto& proto) {
  OnnxPort port{proto.name(), {}};
  for (const auto& dim : proto.type().tensor_type().shape().dim()) {
    if (dim.has_dim_value()) {
      port.shape.push_back(std::to_string(dim.dim_value()));
    } else {
      port.shape.push_back(dim.has_dim_param() ? dim.dim_param() : "?");
    }
  }
  return port;
}

}  // namespace

std::string encode_onnx(const OnnxGraph& graph) {
  const onnx::ModelProto model = to_proto(graph);
  if (const std::size_t bytes = model.ByteSizeLong(); bytes > kMaxBytes) {
    throw Error(graph.network + " has " + counted(bytes, "byte") +
                " as ONNX, whose files hold at most " + std::to_string(kMaxBytes));
  }
  return model.SerializeAsString();
}

onnx::ModelProto parse_model(std::span<const std::byte> file, std::string_view name) {
  const FileFormat format = recognise_file(file).format;
  if (format != FileFormat::kOnnx && format != FileFormat::kUnknown)
    refuse_kind(name, file, "an ONNX network");
  onnx::ModelProto model;
  if (file.size() > kMaxBytes ||
      !model.ParseFromArray(file.data(), static_cast<int>(file.size()))) {
    throw DataError(name, "the whole file", "not a protobuf message, or one that is cut off");
  }
  if (!model.has_ir_version() || !model.has_graph()) {
    throw DataError(name, "the whole file", "no version and graph, so not an ONNX model");
  }
  return model;
}

OnnxSummary parse_onnx(std::span<const std::byte> file, std::string_view name) {
  const onnx::ModelProto model = parse_model(file, name);
  OnnxSummary summary;
  summary.network = model.graph().name();
  summary.producer = model.producer_name();
  if (model.has_producer_version()) summary.producer += " " + model.producer_version();
  summary.ir_version = model.ir_version();
  for (const auto& opset : model.opset_import()) {
    if (opset.domain().empty() || opset.domain() == "ai.onnx") summary.opset = opset.version();
  }
  std::set<std::string> constants;
  for (const auto& constant : model.graph().initializer()) {
    constants.insert(constant.name());
    std::int64_t size = 1;
    bool possible = true;
    for (const std::int64_t extent : constant.dims()) {
      possible = possible && extent >= 0 && !__builtin_mul_overflow(size, extent, &size);
    }
    if (!possible || __builtin_add_overflow(summary.parameters, size, &summary.parameters)) {
      throw DataError(name, "constant '" + constant.name() + "'",
                      "want extents of at least 0 and fewer than 2^63 values");
    }
  }
  for (const auto& input : model.graph().input()) {
    if (!constants.contains(input.name())) summary.inputs.push_back(port_of(input));
  }
  for (const auto& output : model.graph().output()) summary.outputs.push_back(port_of(output));
  for (const auto& node : model.graph().node()) ++summary.operators[node.op_type()];
  summary.nodes = model.graph().node_size();
  summary.bytes = std::ssize(file);
  return summary;
}

OnnxSummary read_onnx(const std::filesystem::path& path) {
  return parse_onnx(MappedFile(path).bytes(), path.string());
}

}  // namespace pfc
