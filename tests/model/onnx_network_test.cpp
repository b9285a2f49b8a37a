// Networks in ONNX files, written by the exporter that users have and by ours.
#include "model/onnx_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "export/onnx_trace.h"
#include "formats/onnx_graph.h"
#include "formats/onnx_match.h"
#include "model/iresnet.h"
#include "model/mobilefacenet.h"
#include "model/trained_network.h"
#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/image_source.h"
#include "pfc/export/onnx.h"
#include "pfc/formats/npy.h"
#include "pfc/model/backbone_file.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// Two pictures [2, 112, 112, 3] uint8: real faces where PFC_FACES names some, otherwise noise.
torch::Tensor some_pixels(const TemporaryFolder& folder) {
  const auto pixels = torch::randint(0, 256, {2, kFaceSize, kFaceSize, 3},
                                     at::detail::createCPUGenerator(3), torch::kUInt8);
  const char* const faces = std::getenv("PFC_FACES");
  if (faces == nullptr) return pixels;
  const auto source = open_images(std::filesystem::path(faces) / "train.rec", folder.path());
  std::vector<std::byte> scratch;
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    decode_image(source->image(i, scratch), kFaceSize, kFaceSize,
                 pixels[i].mutable_data_ptr<std::uint8_t>());
  }
  return pixels;
}

/// The largest |got − want| / |want| of a row.
double relative_error(const torch::Tensor& got, const torch::Tensor& want) {
  return ((got - want).norm(2, 1) / want.norm(2, 1)).max().item<double>();
}

torch::Tensor embed_with(Backbone& backbone, const torch::Tensor& pixels) {
  const torch::NoGradGuard no_grad;
  backbone.eval();
  return backbone.forward(to_network_input(pixels));
}

OnnxGraph graph_of_network(const std::string& name) {
  for (const auto& [each, shape] : named_iresnets())
    if (each == name) return iresnet_graph(shape, 64);
  for (const auto& [each, shape] : named_mobilefacenets())
    if (each == name) return mobilefacenet_graph(shape, 64);
  throw std::logic_error(name + " has no graph");
}

class OnnxNetworkOf : public testing::TestWithParam<std::string> {};

TEST_P(OnnxNetworkOf, ItsGraphIsWhatItsForwardCalls) {
  const auto backbone = trained(GetParam());
  const OnnxGraph traced = trace_onnx(*backbone);
  const OnnxMatch match = match_onnx(traced, graph_of_network(GetParam()));
  ASSERT_TRUE(match.is_whole()) << match.place << ": " << match.problem;
  EXPECT_EQ(match.constants.size(), traced.constants.size());
  for (const auto& [name, constant] : match.constants)
    EXPECT_EQ(constant->values, traced.constants.at(name).values) << name;
}

INSTANTIATE_TEST_SUITE_P(Networks, OnnxNetworkOf,
                         testing::Values("tiny", "mbf", "mbf_large", "r18", "r50"),
                         [](const auto& network) { return network.param; });

TEST(OnnxNetwork, ComesBackFromOurOwnExport) {
  const TemporaryFolder folder;
  const auto pixels = some_pixels(folder);
  for (const std::string name : {"tiny", "mbf"}) {
    const auto backbone = trained(name);
    for (const bool normalize : {false, true}) {
      export_onnx(*backbone, folder / "net.onnx", {.normalize = normalize});
      const SavedBackbone found = open_backbone(folder / "net.onnx");
      EXPECT_EQ(found.name.network, name);
      EXPECT_EQ(found.name.embedding_size, 64);
      EXPECT_EQ(found.left_out, "");
      EXPECT_LT(relative_error(embed_with(*found.backbone, pixels), embed_with(*backbone, pixels)),
                1e-4);
    }
  }
}

TEST(OnnxNetwork, OfAnotherKindIsRefusedAndTheNearestIsNamed) {
  const TemporaryFolder folder;
  OnnxGraph graph = trace_onnx(*trained("tiny"));
  const auto conv = std::ranges::find_if(graph.nodes, [](const OnnxGraph::Node& node) {
    return node.op == "Conv" && node.inputs[1] == "layer3.0.conv2.weight";
  });
  conv->attributes["strides"] = std::vector<std::int64_t>{1, 1};
  write_file(folder / "other.onnx", encode_onnx(graph));
  EXPECT_THAT([&] { open_backbone(folder / "other.onnx"); },
              ThrowsMessage<DataError>(testing::AllOf(
                  HasSubstr("other.onnx: node 'Conv_"),
                  HasSubstr("(Conv): strides [1, 1], tiny has [2, 2]; of the networks that are "
                            "read from ONNX files, tiny is the nearest"))));
  EXPECT_THAT([&] { open_backbone(folder / "other.onnx", "r18"); }, testing::Throws<DataError>());
}

/// Files of PyTorch's exporter. A variant is "opset norms batch rows front": norms are folded or
/// kept, the batch fixed or open; a map becomes rows by flatten or view; in front there is nothing,
/// or (x − 127.5) / 127.5 or / 128.
struct Exported {
  std::string network;
  std::vector<std::string> variants;
};

class OnnxNetworkOfPyTorch : public testing::TestWithParam<Exported> {
 protected:
  TemporaryFolder folder_;
  Python python_{"torch, onnx, onnxruntime"};
};

constexpr const char* kExport = R"(
import numpy, onnxruntime, os, torch
import networks

class Front(torch.nn.Module):
    def __init__(self, network, scale):
        super().__init__()
        self.network, self.scale = network, scale
    def forward(self, x):
        return self.network((x - 127.5) / self.scale)

pixels = torch.from_numpy(numpy.load(folder + '/pixels.npy').reshape(-1, 3, 112, 112))
for i, variant in enumerate(variants):
    opset, norms, batch, rows, front = variant.split()
    view = rows == 'view' and name != 'mbf'
    options = {'to_rows': lambda x: x.view(x.size(0), -1)} if view else {}
    model = networks.load(name, folder + '/backbone.pth', **options)
    x = pixels if front != 'plain' else (pixels - 127.5) / 127.5
    if front != 'plain':
        model = Front(model, float(front)).eval()
    path = folder + f'/{i}.onnx'
    mode = torch.onnx.TrainingMode
    torch.onnx.export(model, x[:1], path, opset_version=int(opset), dynamo=False,
                      training=mode.EVAL if norms == 'folded' else mode.PRESERVE,
                      do_constant_folding=norms == 'folded', input_names=['input.1'],
                      dynamic_axes={'input.1': {0: 'batch'}} if batch == 'open' else None)
    session = onnxruntime.InferenceSession(path)
    rows = [session.run(None, {'input.1': image[None].numpy()})[0] for image in x]
    numpy.save(folder + f'/{i}.npy', numpy.concatenate(rows))
)";

TEST_P(OnnxNetworkOfPyTorch, EmbedsAsOnnxruntimeDoes) {
  if (!python_) GTEST_SKIP() << python_.why_not();
  const auto [name, variants] = GetParam();
  const auto original = trained(name);
  save_state_dict(*original, folder_ / "backbone.pth");
  const auto pixels = some_pixels(folder_);
  const auto rows = pixels.permute({0, 3, 1, 2}).to(torch::kFloat32).flatten(1).contiguous();
  NpyWriter file(folder_ / "pixels.npy", rows.size(1));
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    file.add_row({rows[i].const_data_ptr<float>(), static_cast<std::size_t>(rows.size(1))});
  }
  file.commit();
  std::string list;
  for (const std::string& variant : variants) list += "'" + variant + "', ";
  python_.run("import sys\nsys.path.insert(0, '" PFC_TESTS
              "/model')\nfolder = sys.argv[1]\nname = '" +
                  name + "'\nvariants = [" + list + "]\n" + kExport,
              folder_.path());
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const std::string number = std::to_string(i);
    const SavedBackbone found = open_backbone(folder_ / (number + ".onnx"));
    EXPECT_EQ(found.name.network, name);
    const NpyMatrix want(folder_ / (number + ".npy"));
    const auto embeddings = torch::empty({want.rows(), want.columns()});
    for (std::int64_t row = 0; row < want.rows(); ++row) {
      want.read_row(row, {embeddings[row].mutable_data_ptr<float>(),
                          static_cast<std::size_t>(want.columns())});
    }
    EXPECT_LT(relative_error(embed_with(*found.backbone, pixels), embeddings), 1e-4) << variants[i];
    if (variants[i].find("kept") == std::string::npos || !variants[i].ends_with("plain")) continue;
    const auto got = state_of(*found.backbone), all = state_of(*original);
    for (std::size_t t = 0; t < got.size(); ++t) {
      if (got[t].first.ends_with("num_batches_tracked")) continue;
      EXPECT_TRUE(torch::equal(got[t].second, all[t].second)) << variants[i] << all[t].first;
    }
  }
}

/// Each pair of a norm's and a batch's kind with each opset, in few files.
const std::vector<std::string> kSome = {"11 folded fixed flatten plain", "11 kept open view 127.5",
                                        "17 folded open view 128", "17 kept fixed flatten plain"};

INSTANTIATE_TEST_SUITE_P(Small, OnnxNetworkOfPyTorch,
                         testing::Values(Exported{"r18", kSome}, Exported{"mbf", kSome}),
                         [](const auto& exported) { return exported.param.network; });

std::vector<Exported> large() {
  std::vector<Exported> all;
  for (const std::string network : {"r18", "mbf", "r50", "r100"}) {
    for (const std::string opset : {"11", "17"}) {
      for (const std::string norms : {" folded", " kept"}) {
        for (const std::string batch : {" fixed", " open"})
          all.push_back({network, {opset + norms + batch + " flatten plain"}});
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Large, OnnxNetworkOfPyTorch, testing::ValuesIn(large()),
                         [](const auto& exported) {
                           std::string name =
                               exported.param.network + "_" + exported.param.variants[0];
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace pfc
