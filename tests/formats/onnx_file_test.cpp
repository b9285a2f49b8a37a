#include "pfc/formats/onnx_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "formats/onnx_graph.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::ThrowsMessage;

OnnxGraph small_graph() {
  OnnxGraph graph;
  graph.network = "small";
  graph.input = {"data", {1, 2, 2}};
  graph.output = {"embedding", {2}};
  graph.nodes = {{.op = "BatchNormalization",
                  .inputs = {"data", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"},
                  .output = "0",
                  .attributes = {{"epsilon", 0.25f}}},
                 {.op = "MaxPool",
                  .inputs = {"0"},
                  .output = "1",
                  .attributes = {{"kernel_shape", std::vector<std::int64_t>{2, 1}}}},
                 {.op = "Flatten",
                  .inputs = {"1"},
                  .output = "embedding",
                  .attributes = {{"axis", std::int64_t{1}}}}};
  graph.constants = {{"bn.weight", {{1}, {3}}},
                     {"bn.bias", {{1}, {0.1}}},
                     {"bn.running_mean", {{1}, {1}}},
                     {"bn.running_var", {{1}, {2}}}};
  return graph;
}

class OnnxFile : public testing::Test {
 protected:
  void SetUp() override { write_file(path_, encode_onnx(small_graph())); }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "small.onnx";
};

TEST_F(OnnxFile, SaysWhatWasWritten) {
  const OnnxSummary summary = read_onnx(path_);
  EXPECT_EQ(summary.network, "small");
  EXPECT_THAT(summary.producer, testing::MatchesRegex("partial-fc [0-9.]+"));
  EXPECT_EQ(summary.ir_version, 6);
  EXPECT_EQ(summary.opset, 11);
  ASSERT_EQ(summary.inputs.size(), 1u);
  EXPECT_EQ(summary.inputs[0].name, "data");
  EXPECT_THAT(summary.inputs[0].shape, ElementsAre("N", "1", "2", "2"));
  ASSERT_EQ(summary.outputs.size(), 1u);
  EXPECT_EQ(summary.outputs[0].name, "embedding");
  EXPECT_THAT(summary.outputs[0].shape, ElementsAre("N", "2"));
  EXPECT_EQ(summary.nodes, 3);
  EXPECT_THAT(summary.operators,
              ElementsAre(Pair("BatchNormalization", 1), Pair("Flatten", 1), Pair("MaxPool", 1)));
  EXPECT_EQ(summary.parameters, 4);
}

TEST_F(OnnxFile, PassesTheCheckerAndRuns) {
  const Python python("onnx, onnxruntime");
  if (!python) GTEST_SKIP() << python.why_not();
  // 3 · (x − 1) / √(2 + 0.25) + 0.1, then the larger of each column.
  EXPECT_EQ(python.run("import sys, numpy, onnx, onnxruntime\n"
                       "model = onnx.load(sys.argv[1])\n"
                       "onnx.checker.check_model(model, full_check=True)\n"
                       "print([node.name for node in model.graph.node])\n"
                       "session = onnxruntime.InferenceSession(sys.argv[1])\n"
                       "x = numpy.array([1, 2, 4, 0], numpy.float32).reshape(1, 1, 2, 2)\n"
                       "print(session.run(None, {'data': x})[0].round(5).tolist())",
                       path_),
            "['BatchNormalization_0', 'MaxPool_1', 'Flatten_2']\n"
            "[[6.099999904632568, 2.0999999046325684]]\n");
}

TEST_F(OnnxFile, IsRefusedWhereItIsCutOff) {
  const std::string whole = read_file(path_);
  for (const std::size_t size : {whole.size() - 1, whole.size() / 2, std::size_t{20}}) {
    write_text(path_, whole.substr(0, size));
    EXPECT_THAT([&] { read_onnx(path_); },
                ThrowsMessage<DataError>(HasSubstr("small.onnx: the whole file: ")))
        << size;
  }
}

TEST_F(OnnxFile, IsRefusedWhereItIsSomethingElse) {
  write_text(path_, "");
  EXPECT_THAT([&] { read_onnx(path_); },
              ThrowsMessage<DataError>(HasSubstr("found an empty file, want an ONNX network")));
  write_text(path_, "\x89PNG and what comes after it");
  EXPECT_THAT([&] { read_onnx(path_); },
              ThrowsMessage<DataError>(HasSubstr("not a protobuf message")));
  EXPECT_THAT([&] { read_onnx(folder_ / "none.onnx"); },
              ThrowsMessage<Error>(HasSubstr("none.onnx: cannot open")));
}

TEST_F(OnnxFile, IsRefusedWhereAConstantCannotHaveItsShape) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{-1}, std::vector<std::int64_t>(4, std::int64_t{1} << 20)}) {
    OnnxGraph graph = small_graph();
    graph.constants.at("bn.bias").shape = shape;
    write_file(path_, encode_onnx(graph));
    EXPECT_THAT(
        [&] { read_onnx(path_); },
        ThrowsMessage<DataError>(HasSubstr("small.onnx: constant 'bn.bias': want extents")));
  }
}

TEST_F(OnnxFile, OfOldListsItsConstantsAmongTheInputs) {
  const Python python("onnx");
  if (!python) GTEST_SKIP() << python.why_not();
  python.run(
      "import sys, onnx\n"
      "model = onnx.load(sys.argv[1])\n"
      "for c in model.graph.initializer:\n"
      "    model.graph.input.append(\n"
      "        onnx.helper.make_tensor_value_info(c.name, c.data_type, c.dims))\n"
      "onnx.save(model, sys.argv[1])",
      path_);
  EXPECT_EQ(read_onnx(path_).inputs.size(), 1u);
}

}  // namespace
}  // namespace pfc
