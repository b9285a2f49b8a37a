#include "formats/onnx_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "formats/onnx_graph.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Constant = OnnxGraph::Constant;

OnnxGraph graph_of_nodes(std::vector<OnnxGraph::Node> nodes,
                         std::map<std::string, Constant> constants = {}) {
  return {.network = "net",
          .input = {"data", {2, 1, 1}},
          .output = {"embedding", {2}},
          .nodes = std::move(nodes),
          .constants = std::move(constants)};
}

OnnxGraph read_back(const OnnxGraph& graph) {
  const std::string file = encode_onnx(graph);
  return decode_onnx(std::as_bytes(std::span(file)), "net.onnx");
}

std::vector<std::string> operators_of(const OnnxGraph& graph) {
  std::vector<std::string> all;
  for (const auto& node : graph.nodes) all.push_back(node.op);
  return all;
}

void expect_unreadable(const OnnxGraph& graph, const std::string& sentence) {
  EXPECT_THAT([&] { read_back(graph); }, ThrowsMessage<DataError>(HasSubstr(sentence)));
}

const Constant kMatrix{{2, 3}, {1, 2, 3, 4, 5, 6}}, kTurned{{3, 2}, {1, 4, 2, 5, 3, 6}};

TEST(OnnxReader, LeavesOutWhatDoesNothingInEvaluation) {
  const OnnxGraph graph = read_back(graph_of_nodes(
      {{.op = "Cast", .inputs = {"data"}, .output = "0", .attributes = {{"to", std::int64_t{10}}}},
       {.op = "Identity", .inputs = {"0"}, .output = "1"},
       {.op = "Relu", .inputs = {"1"}, .output = "2"},
       {.op = "Sigmoid", .inputs = {"1"}, .output = "nobody's"},
       {.op = "Dropout", .inputs = {"2"}, .output = "embedding"}}));
  EXPECT_THAT(operators_of(graph), ElementsAre("Relu"));
  EXPECT_EQ(graph.nodes[0].inputs[0], graph.input.name);
  EXPECT_EQ(graph.nodes[0].output, graph.output.name);
}

TEST(OnnxReader, MakesOneLinearLayerOfEveryFormOfIt) {
  const Constant bias{{1, 2}, {7, 8}};
  const std::vector<OnnxGraph> forms = {
      graph_of_nodes({{.op = "Gemm",
                       .inputs = {"data", "w", "b"},
                       .output = "embedding",
                       .attributes = {{"transB", std::int64_t{1}}}}},
                     {{"w", kMatrix}, {"b", bias}}),
      graph_of_nodes({{.op = "Gemm", .inputs = {"data", "w", "b"}, .output = "embedding"}},
                     {{"w", kTurned}, {"b", bias}}),
      graph_of_nodes({{.op = "MatMul", .inputs = {"data", "w"}, .output = "0"},
                      {.op = "Add", .inputs = {"b", "0"}, .output = "embedding"}},
                     {{"w", kTurned}, {"b", bias}}),
      graph_of_nodes({{.op = "Transpose", .inputs = {"w"}, .output = "wt"},
                      {.op = "MatMul", .inputs = {"data", "wt"}, .output = "0"},
                      {.op = "Identity", .inputs = {"0"}, .output = "1"},
                      {.op = "Add", .inputs = {"1", "b"}, .output = "embedding"}},
                     {{"w", kMatrix}, {"b", bias}}),
  };
  for (const OnnxGraph& form : forms) {
    const OnnxGraph graph = read_back(form);
    ASSERT_THAT(operators_of(graph), ElementsAre("Gemm"));
    ASSERT_EQ(graph.nodes[0].inputs.size(), 3u);
    EXPECT_EQ(graph.nodes[0].output, "embedding");
    EXPECT_EQ(graph.constants.at(graph.nodes[0].inputs[1]).shape, kMatrix.shape);
    EXPECT_EQ(graph.constants.at(graph.nodes[0].inputs[1]).values, kMatrix.values);
    EXPECT_EQ(graph.constants.at(graph.nodes[0].inputs[2]).values, bias.values);
  }
}

TEST(OnnxReader, ASumOfWhatIsUsedElsewhereIsNoBias) {
  const OnnxGraph graph =
      read_back(graph_of_nodes({{.op = "MatMul", .inputs = {"data", "w"}, .output = "0"},
                                {.op = "Add", .inputs = {"0", "b"}, .output = "1"},
                                {.op = "Add", .inputs = {"0", "1"}, .output = "embedding"}},
                               {{"w", kTurned}, {"b", {{2}, {7, 8}}}}));
  EXPECT_THAT(operators_of(graph), ElementsAre("Gemm", "Add", "Add"));
}

TEST(OnnxReader, TakesAReshapeToRowsForFlatten) {
  const auto reshape_to = [](Constant shape) {
    shape.type = OnnxGraph::Type::kInt64;
    return operators_of(read_back(
        graph_of_nodes({{.op = "Reshape", .inputs = {"data", "shape"}, .output = "embedding"}},
                       {{"shape", std::move(shape)}})));
  };
  EXPECT_THAT(reshape_to({{2}, {-1, 2}}), ElementsAre("Flatten"));
  EXPECT_THAT(reshape_to({{2}, {1, -1}}), ElementsAre("Flatten"));
  EXPECT_THAT(reshape_to({{2}, {-1, 1}}), ElementsAre("Reshape"));
  EXPECT_THAT(reshape_to({{3}, {-1, 1, 2}}), ElementsAre("Reshape"));
  // x.view(x.size(0), -1), with the batch open.
  const OnnxGraph graph =
      read_back(graph_of_nodes({{.op = "Shape", .inputs = {"data"}, .output = "0"},
                                {.op = "Gather", .inputs = {"0", "first"}, .output = "1"},
                                {.op = "Unsqueeze", .inputs = {"1"}, .output = "2"},
                                {.op = "Concat", .inputs = {"2", "rest"}, .output = "3"},
                                {.op = "Reshape", .inputs = {"data", "3"}, .output = "embedding"}},
                               {{"first", {{}, {0}, OnnxGraph::Type::kInt64}},
                                {"rest", {{1}, {-1}, OnnxGraph::Type::kInt64}}}));
  EXPECT_THAT(operators_of(graph), ElementsAre("Flatten"));
}

TEST(OnnxReader, GivesSlopesOneShapeAndLayersAllTheirAttributes) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{2}, {2, 1, 1}, {1, 2, 1, 1}}) {
    const OnnxGraph graph = read_back(
        graph_of_nodes({{.op = "Conv", .inputs = {"data", "w"}, .output = "0"},
                        {.op = "PRelu", .inputs = {"0", "slope"}, .output = "embedding"}},
                       {{"w", {{2, 2, 1, 1}, {1, 2, 3, 4}}}, {"slope", {shape, {0.5, 0.25}}}}));
    const auto& conv = graph.nodes[0].attributes;
    EXPECT_EQ(std::get<std::int64_t>(conv.at("group")), 1);
    EXPECT_THAT(std::get<std::vector<std::int64_t>>(conv.at("pads")), ElementsAre(0, 0, 0, 0));
    EXPECT_THAT(std::get<std::vector<std::int64_t>>(conv.at("strides")), ElementsAre(1, 1));
    EXPECT_THAT(graph.constants.at(graph.nodes[1].inputs[1]).shape, ElementsAre(2));
  }
}

TEST(OnnxReader, RefusesWhatIsNoGraphAndNamesTheNode) {
  const OnnxGraph::Node relu{.op = "Relu", .inputs = {"data"}, .output = "embedding"};
  expect_unreadable(graph_of_nodes({}), "output 'embedding': no node computes it");
  expect_unreadable(graph_of_nodes({relu, relu}),
                    "node 'Relu_1' (Relu): its output 'embedding' is there already");
  expect_unreadable(graph_of_nodes({{.op = "Gemm", .inputs = {"none", "w"}, .output = "embedding"}},
                                   {{"w", kMatrix}}),
                    "node 'Gemm_0' (Gemm): its input 'none' is not computed from the image");
  expect_unreadable(
      graph_of_nodes({{.op = "Gemm", .inputs = {"data", "data"}, .output = "embedding"}}),
      "its input 'data' is not a constant of the file");
  expect_unreadable(graph_of_nodes({{.op = "Conv", .inputs = {"data", "w"}, .output = "embedding"}},
                                   {{"w", kMatrix}}),
                    "node 'Conv_0' (Conv): a weight of 2 dimensions, want 4");
  expect_unreadable(
      graph_of_nodes({{.op = "Gemm", .inputs = {"data", "w", "b"}, .output = "embedding"}},
                     {{"w", kTurned}, {"b", {{3}, {1, 2, 3}}}}),
      "node 'Gemm_0' (Gemm): 'b' has 3 values, want 2");
  OnnxGraph wrong = graph_of_nodes({{.op = "Gemm", .inputs = {"data", "w"}, .output = "embedding"}},
                                   {{"w", kTurned}});
  wrong.constants.at("w").shape = {3, 20};
  expect_unreadable(wrong, "constant 'w': it does not have its 60 values of FLOAT");
}

TEST(OnnxReader, ReadsNumbersOfEveryTypeAndFromAFileBeside) {
  const Python python("onnx, numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  const TemporaryFolder folder;
  python.run(R"(
import sys, numpy, onnx
from onnx import TensorProto as T, helper as h, numpy_helper
folder = sys.argv[1] + '/'
w = numpy.array([[1, -2], [0.5, 2.0 ** -20], [65504, 3]], numpy.float32)
ports = [h.make_tensor_value_info(n, T.FLOAT, s) for n, s in (('x', ['n', 3]), ('y', ['n', 2]))]
def model(weight):
    graph = h.make_graph([h.make_node('MatMul', ['x', 'w'], ['y'])], 'g', ports[:1], ports[1:], [weight])
    return h.make_model(graph, opset_imports=[h.make_opsetid('', 17)])
for kind in ('FLOAT', 'FLOAT16', 'BFLOAT16', 'DOUBLE'):
    for raw in (False, True):
        values = w.ravel().tolist()
        if raw and kind != 'BFLOAT16':
            values = w.astype({'FLOAT': 'f4', 'FLOAT16': 'f2', 'DOUBLE': 'f8'}[kind]).tobytes()
        elif raw:
            values = (w.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
        weight = h.make_tensor('w', getattr(T, kind), [3, 2], values, raw=raw)
        onnx.save(model(weight), folder + f'{kind}{int(raw)}.onnx')
weight = h.make_tensor('w', T.FLOAT, [3, 2], w.tobytes(), raw=True)
onnx.save_model(model(weight), folder + 'beside.onnx', save_as_external_data=True, location='beside.data',
                size_threshold=0)
other = onnx.load(folder + 'beside.onnx', load_external_data=False)
for entry in other.graph.initializer[0].external_data:
    if entry.key == 'location':
        entry.value = '../' + entry.value
onnx.save(other, folder + 'elsewhere.onnx')
)",
             folder.path());
  const auto read = [&](const std::string& file) {
    return decode_onnx(MappedFile(folder / file).bytes(), file, folder.path());
  };
  for (const std::string kind : {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}) {
    for (const std::string raw : {"0", "1"}) {
      const auto values = read(kind + raw + ".onnx").constants.at("y/weight").values;
      const double largest = kind == "BFLOAT16" ? (raw == "1" ? 65280 : 65536) : 65504;
      EXPECT_THAT(values, ElementsAre(1, 0.5, largest, -2, std::ldexp(1, -20), 3)) << kind << raw;
    }
  }
  EXPECT_EQ(read("beside.onnx").constants.at("y/weight").values[2], 65504);
  const auto refused = [&](const std::string& file, const std::string& sentence) {
    EXPECT_THAT([&] { read(file); }, ThrowsMessage<DataError>(HasSubstr(sentence)));
  };
  refused("elsewhere.onnx", "its numbers are in '../beside.data', want a file of the same folder");
  write_text(folder / "beside.data", "short");
  refused("beside.onnx", "its numbers are at offset 0 of beside.data, which has 5 bytes");
}

}  // namespace
}  // namespace pfc
