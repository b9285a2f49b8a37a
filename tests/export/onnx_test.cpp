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
#include <string>
#include <vector>

#include "export/onnx_trace.h"
#include "formats/onnx_graph.h"
#include "model/backbone_state.h"
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

/// Values as after training: no normalisation is the identity, and signals keep their size through
/// any depth.
void make_trained(Backbone& backbone, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(seed);
  for (const auto& [name, tensor] : state_of(backbone)) {
    if (tensor.dim() > 1) {
      tensor.normal_(0, std::sqrt(1 / static_cast<double>(tensor[0].numel())), generator);
    } else if (name.ends_with("running_var")) {
      tensor.uniform_(0.5, 2, generator);
    } else if (name.ends_with("running_mean") || name.ends_with("bias")) {
      tensor.normal_(0, 0.3, generator);
    } else if (tensor.is_floating_point()) {
      tensor.uniform_(0.5, 1.5, generator);
    }
  }
}

std::shared_ptr<Backbone> trained(const std::string& name) {
  auto backbone = make_backbone(name, 64, 1);
  make_trained(*backbone, 2);
  return backbone;
}

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

/// Checks model.onnx and runs it on input.npy, one image at a time and all at once. Prints the
/// least cosine between its embeddings and the rows of embeddings.npy, as they are and with their
/// mean subtracted (which shows what tells the images apart).
constexpr const char* kRun = R"(
import sys, numpy, onnx, onnxruntime
folder = sys.argv[1]
onnx.checker.check_model(folder + '/model.onnx', full_check=True)
session = onnxruntime.InferenceSession(folder + '/model.onnx')
name = session.get_inputs()[0].name
x = numpy.load(folder + '/input.npy').reshape(-1, 3, 112, 112)
want = numpy.load(folder + '/embeddings.npy').astype(numpy.float64)
one = numpy.concatenate([session.run(None, {name: image[None]})[0] for image in x])
least = 1.0
for got in (one, session.run(None, {name: x})[0]):
    for a, b in ((got, want), (got - got.mean(0), want - want.mean(0))):
        cosines = (a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)
        least = min(least, cosines.min())
print(least)
)";

class OnnxExport : public testing::TestWithParam<std::string> {
 protected:
  /// The least cosine between onnxruntime's embeddings and ours for pixels [n, 112, 112, 3] uint8.
  double least_cosine(Backbone& backbone, const torch::Tensor& pixels, bool normalize) const {
    const torch::NoGradGuard no_grad;
    backbone.eval();
    const auto images = to_network_input(pixels);
    export_onnx(backbone, folder_ / "model.onnx", {.normalize = normalize});
    write_rows(folder_ / "input.npy", normalize ? pixels.permute({0, 3, 1, 2}) : images);
    write_rows(folder_ / "embeddings.npy", backbone.forward(images));
    return std::stod(python_.run(kRun, folder_.path()));
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
  const char* const faces = std::getenv("PFC_FACES");
  if (faces == nullptr) GTEST_SKIP() << "PFC_FACES does not name the folder of real faces";
  const auto source = open_images(std::filesystem::path(faces) / "train.rec", folder_.path());
  const auto pixels = torch::empty({3, kFaceSize, kFaceSize, 3}, torch::kUInt8);
  std::vector<std::byte> scratch;
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    decode_image(source->image(i, scratch), kFaceSize, kFaceSize,
                 pixels[i].mutable_data_ptr<std::uint8_t>());
  }
  const auto backbone = trained(GetParam());
  for (const bool normalize : {false, true}) {
    EXPECT_GE(least_cosine(*backbone, pixels, normalize), 0.99999) << normalize;
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

TEST_F(OnnxExport, RefusesATransformerInOneSentence) {
  const auto path = folder_ / "model.onnx";
  EXPECT_THAT([&] { export_onnx(*make_backbone("vit_t", 8, 1), path); },
              ThrowsMessage<Error>(testing::AllOf(
                  testing::StartsWith("vit_t cannot be exported: convolutional networks are "
                                      "(iResNets, MobileFaceNets), transformers are "
                                      "not; its operator aten::"),
                  testing::Not(HasSubstr("\n")))));
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
