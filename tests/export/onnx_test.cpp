#include "pfc/export/onnx.h"
#include "pfc/model/backbone.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "export/onnx_trace.h"
#include "formats/onnx_graph.h"
#include "model/backbone_state.h"
#include "model/trained_network.h"
#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/image_source.h"
#include "pfc/formats/npy.h"
#include "pfc/formats/onnx_file.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::int64_t count(const OnnxGraph& graph, const std::string& op) {
  return std::ranges::count(graph.nodes, op, &OnnxGraph::Node::op);
}

/// Rows of a tensor [n, …] as a matrix in NumPy's format.
void write_rows(const std::filesystem::path& path, const torch::Tensor& tensor) {
  const auto rows = tensor.flatten(1).to(torch::kFloat32).contiguous();
  NpyWriter file(path, rows.size(1));
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    file.add_row({rows[i].const_data_ptr<float>(), static_cast<std::size_t>(rows.size(1))});
  }
  file.commit();
}

/// Checks model.onnx and runs it on input.npy, all images at once and, if the batch is open, one at
/// a time. Prints the least cosine between its embeddings and the rows of embeddings.npy, as they
/// are and with their mean subtracted (which shows what tells the images apart), and the largest
/// relative difference of their lengths.
constexpr const char* kRun = R"(
import sys, numpy, onnx, onnxruntime
folder = sys.argv[1]
onnx.checker.check_model(folder + '/model.onnx', full_check=True)
session = onnxruntime.InferenceSession(folder + '/model.onnx')
name = session.get_inputs()[0].name
x = numpy.load(folder + '/input.npy').reshape(-1, 3, 112, 112)
want = numpy.load(folder + '/embeddings.npy').astype(numpy.float64)
runs = [session.run(None, {name: x})[0]]
if session.get_inputs()[0].shape[0] == 'N':
    runs.append(numpy.concatenate([session.run(None, {name: image[None]})[0] for image in x]))
least, length = 1.0, 0.0
for got in runs:
    assert got.dtype == numpy.float32 and got.shape == want.shape
    for a, b in ((got, want), (got - got.mean(0), want - want.mean(0))):
        cosines = (a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)
        least = min(least, cosines.min())
    lengths = numpy.linalg.norm(got, axis=1) / numpy.linalg.norm(want, axis=1)
    length = max(length, abs(lengths - 1).max())
print(least, length)
)";

class OnnxExport : public testing::TestWithParam<std::string> {
 protected:
  struct Difference {
    double cosine, length;
  };

  /// Between onnxruntime's embeddings and ours of pixels [n, 112, 112, 3] uint8.
  Difference difference(Backbone& backbone, const torch::Tensor& pixels,
                        const OnnxOptions& options) const {
    const torch::NoGradGuard no_grad;
    backbone.eval();
    const auto images = to_network_input(pixels);
    export_onnx(backbone, folder_ / "model.onnx", options);
    write_rows(folder_ / "input.npy", options.normalize ? pixels.permute({0, 3, 1, 2}) : images);
    auto embeddings = backbone.forward(images);
    if (options.normalize_embeddings) embeddings /= embeddings.norm(2, 1, /*keepdim=*/true);
    write_rows(folder_ / "embeddings.npy", embeddings);
    std::istringstream printed(python_.run(kRun, folder_.path()));
    Difference found{};
    printed >> found.cosine >> found.length;
    return found;
  }
  double least_cosine(Backbone& backbone, const torch::Tensor& pixels, bool normalize) const {
    return difference(backbone, pixels, {.normalize = normalize}).cosine;
  }

  /// The first three real faces; nothing if PFC_FACES does not name them.
  std::optional<torch::Tensor> real_faces() const {
    const char* const faces = std::getenv("PFC_FACES");
    if (faces == nullptr) return std::nullopt;
    const auto source = open_images(std::filesystem::path(faces) / "train.rec", folder_.path());
    const auto pixels = torch::empty({3, kFaceSize, kFaceSize, 3}, torch::kUInt8);
    std::vector<std::byte> scratch;
    for (std::int64_t i = 0; i < pixels.size(0); ++i) {
      decode_image(source->image(i, scratch), kFaceSize, kFaceSize,
                   pixels[i].mutable_data_ptr<std::uint8_t>());
    }
    return pixels;
  }

  /// [3, 112, 112, 3]
  static torch::Tensor noise() {
    return torch::randint(0, 256, {3, kFaceSize, kFaceSize, 3}, at::detail::createCPUGenerator(3),
                          torch::kUInt8);
  }

  TemporaryFolder folder_;
  Python python_{"onnx, onnxruntime"};
};

class OnnxExportOf : public OnnxExport {};

TEST_P(OnnxExportOf, EmbedsRealFacesAsWeDo) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  const auto pixels = real_faces();
  if (!pixels) GTEST_SKIP() << "PFC_FACES does not name the folder of real faces";
  const auto backbone = trained(GetParam());
  for (const bool normalize : {false, true}) {
    EXPECT_GE(least_cosine(*backbone, *pixels, normalize), 0.99999) << normalize;
  }
}

TEST_P(OnnxExportOf, LeavesOnlyTheNormalisationsBeforePaddedConvolutions) {
  const auto backbone = trained(GetParam());
  OnnxGraph graph = trace_onnx(*backbone);
  const std::int64_t padded =
      std::ranges::count_if(backbone->named_buffers(), [](const auto& buffer) {
        return buffer.key().starts_with("layer") && buffer.key().ends_with("bn1.running_mean");
      });
  EXPECT_GT(count(graph, "BatchNormalization"), padded);
  fold_batch_norms(graph);
  EXPECT_EQ(count(graph, "BatchNormalization"), padded);
}

TEST_P(OnnxExportOf, NamesItsConstantsAsTheStateDict) {
  const auto backbone = trained(GetParam());
  OnnxGraph graph = trace_onnx(*backbone);
  fold_batch_norms(graph);
  const auto state = state_of(*backbone);
  for (const auto& [name, constant] : graph.constants) {
    EXPECT_EQ(std::ranges::count(state, name, [](const auto& item) { return item.first; }), 1)
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxExportOf,
                         testing::Values("tiny", "mbf", "mbf_large", "r18", "r50", "r100"),
                         [](const auto& network) { return network.param; });

/// A network as a user might write it, from LibTorch's own modules.
class OwnNetwork : public Backbone {
 public:
  OwnNetwork() {
    using namespace torch::nn;  // NOLINT
    body_ = register_module(
        "body", Sequential(Conv2d(Conv2dOptions(3, 8, {3, 5}).stride({2, 1}).padding({1, 2})),
                           BatchNorm2d(8), ReLU(ReLUOptions(true)),
                           MaxPool2d(MaxPool2dOptions(3).stride(2).padding(1)),
                           Conv2d(Conv2dOptions(8, 8, 3).dilation(2).groups(4)), Dropout2d(0.5)));
    gate_ = register_module("gate", Sequential(AdaptiveAvgPool2d(1), Conv2d(8, 8, 1), Sigmoid()));
    head_ = register_module(
        "head",
        Sequential(Dropout(0.5), Linear(LinearOptions(8 * 24 * 52, 16).bias(false)),
                   BatchNorm1d(16), PReLU(PReLUOptions().num_parameters(16)), Linear(16, 16)));
    make_trained(*this, 4);
  }

  torch::Tensor forward(torch::Tensor images) override {
    auto x = body_->forward(images);
    x = x * gate_->forward(x);
    x += x.relu();
    return head_->forward(x.reshape({x.size(0), -1}));
  }

 private:
  torch::nn::Sequential body_, gate_, head_;
};

TEST_F(OnnxExport, TakesANetworkOfOnesOwn) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  OwnNetwork network;
  EXPECT_GE(least_cosine(network, noise(), /*normalize=*/true), 0.99999);
  EXPECT_EQ(read_onnx(folder_ / "model.onnx").operators.count("BatchNormalization"), 0u);
}

TEST_F(OnnxExport, EmbedsAsAVisionTransformerDoes) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  const auto backbone = trained("vit_t");
  const auto pixels = real_faces().value_or(noise());
  EXPECT_GE(least_cosine(*backbone, pixels, /*normalize=*/true), 0.99999);
  const OnnxSummary summary = read_onnx(folder_ / "model.onnx");
  EXPECT_EQ(summary.opset, 17);
  EXPECT_EQ(summary.operators.at("LayerNormalization"), 25);
  EXPECT_EQ(summary.operators.count("BatchNormalization"), 0u);
}

TEST_F(OnnxExport, GivesUnitEmbeddingsOfAFixedBatchIfAsked) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  for (const std::string name : {"tiny", "mbf", "ir_18", "vit_t"}) {
    const auto found = difference(*trained(name), noise(),
                                  {.normalize = true, .normalize_embeddings = true, .batch = 3});
    EXPECT_GE(found.cosine, 0.99999) << name;
    EXPECT_LT(found.length, 1e-5) << name;
    const OnnxSummary summary = read_onnx(folder_ / "model.onnx");
    EXPECT_EQ(summary.inputs[0].shape, (std::vector<std::string>{"3", "3", "112", "112"}));
    EXPECT_EQ(summary.outputs[0].shape, (std::vector<std::string>{"3", "64"}));
  }
}

TEST_F(OnnxExport, InFloat16HasHalfTheSizeAndEmbedsNearlyTheSame) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  for (const std::string name : {"tiny", "mbf", "vit_t"}) {
    const auto backbone = trained(name);
    const auto whole = export_onnx(*backbone, folder_ / "whole.onnx").bytes;
    const auto found =
        difference(*backbone, noise(), {.normalize_embeddings = true, .float16 = true});
    EXPECT_GE(found.cosine, 0.999) << name;
    EXPECT_LT(found.length, 1e-5) << name;
    const auto half = static_cast<double>(read_onnx(folder_ / "model.onnx").bytes);
    EXPECT_NEAR(half / static_cast<double>(whole), 0.5, 0.05) << name;
  }
}

TEST_F(OnnxExport, RefusesAValueThatFloat16DoesNotHave) {
  const auto backbone = trained("tiny");
  const torch::NoGradGuard no_grad;
  state_of(*backbone)[0].second.view(-1)[0] = 1e6;
  EXPECT_THAT([&] { export_onnx(*backbone, folder_ / "model.onnx", {.float16 = true}); },
              ThrowsMessage<Error>(HasSubstr("float16 ends at 65504")));
}

/// As users write transformers: with LibTorch's own modules, and with attention by hand.
class OwnTransformer : public Backbone {
 public:
  OwnTransformer() {
    using namespace torch::nn;  // NOLINT
    patches_ = register_module("patches", Conv2d(Conv2dOptions(3, 16, 28).stride(28)));
    norm_ = register_module("norm", LayerNorm(LayerNormOptions({16})));
    qkv_ = register_module("qkv", Linear(16, 48));
    mlp_ = register_module("mlp", Sequential(Linear(16, 32), GELU(), Linear(32, 16)));
    head_ = register_module("head", Linear(16 * 16, 16));
    make_trained(*this, 5);
  }

  torch::Tensor forward(torch::Tensor images) override {
    auto x = patches_->forward(images).flatten(2).permute({0, -1, 1});
    const auto qkv = qkv_->forward(norm_->forward(x)).view({x.size(0), 16, 3, 2, 8});
    const auto part = [&](int i) { return qkv.select(2, i).transpose(1, 2); };
    const auto weights = torch::softmax(part(0).matmul(part(1).transpose(-2, -1)) * 0.35 / 1.5, -1);
    x = x + weights.matmul(part(2)).transpose(1, 2).reshape({x.size(0), 16, 16});
    return head_->forward(torch::relu6(x + mlp_->forward(x)).flatten(1));
  }

 private:
  torch::nn::Conv2d patches_ = nullptr;
  torch::nn::LayerNorm norm_ = nullptr;
  torch::nn::Linear qkv_ = nullptr, head_ = nullptr;
  torch::nn::Sequential mlp_;
};

TEST_F(OnnxExport, TakesATransformerOfOnesOwn) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  OwnTransformer network;
  EXPECT_GE(least_cosine(network, noise(), /*normalize=*/true), 0.99999);
}

/// Calls an operator that has no translation.
class Sine : public Backbone {
 public:
  torch::Tensor forward(torch::Tensor images) override { return images.sin().flatten(1); }
};

TEST_F(OnnxExport, RefusesAnUnknownOperatorByName) {
  const auto path = folder_ / "model.onnx";
  Sine network;
  network.set_title("sine");
  EXPECT_THAT([&] { export_onnx(network, path); },
              ThrowsMessage<Error>("sine cannot be exported: its operator aten::sin, as it is "
                                   "called, has no ONNX form here"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(OnnxExport, LeavesTheNetworkAsItWas) {
  const auto backbone = make_backbone("tiny", 8, 1);
  const auto before = state_of(*backbone);
  std::vector<torch::Tensor> values;
  for (const auto& [name, tensor] : before) values.push_back(tensor.clone());
  export_onnx(*backbone, folder_ / "model.onnx");
  EXPECT_TRUE(backbone->is_training());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(torch::equal(before[i].second, values[i])) << before[i].first;
  }
  for (const auto& parameter : backbone->named_parameters()) {
    EXPECT_EQ(parameter.value().requires_grad(), parameter.key() != "features.weight");
  }
}

}  // namespace
}  // namespace pfc
