// AdaFace's and face.evoLVe's networks, against the same in PyTorch.
#include "model/ir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <string>
#include <vector>

#include "model/trained_network.h"
#include "pfc/base/error.h"
#include "pfc/formats/npy.h"
#include "pfc/model/backbone_file.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

/// Writes a checkpoint as these projects do, AdaFace's with PyTorch Lightning, and embeddings.
constexpr const char* kCheckpoint = R"(
import numpy, torch
import networks
torch.manual_seed(1)
model = networks.Ir((3, 4, 14, 3), 512, evolve)
with torch.no_grad():
    for name, tensor in model.state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5)
        elif name.endswith('running_var'):
            tensor.uniform_(0.5, 2)
        elif name.endswith(('running_mean', 'bias')):
            tensor.normal_(0, 0.3)
images = torch.linspace(-1, 1, 2 * 3 * 112 * 112).reshape(2, 3, 112, 112)
with torch.no_grad():
    numpy.save(folder + '/embeddings.npy', model.eval()(images).numpy())
state = model.state_dict()
if not evolve:
    state = {'epoch': 1, 'global_step': 2, 'hyper_parameters': {'arch': 'ir_50'},
             'state_dict': {'head.kernel': torch.zeros(512, 7), **{'model.' + k: v for k, v in state.items()}}}
torch.save(state, folder + '/model.ckpt')
)";

TEST(Ir, EmbedsHereAsInPyTorch) {
  const Python python("torch, numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  const torch::NoGradGuard no_grad;
  for (const bool is_evolve : {false, true}) {
    const TemporaryFolder folder;
    python.run(std::string("import sys\nsys.path.insert(0, '" PFC_TESTS
                           "/model')\nfolder = sys.argv[1]\nevolve = ") +
                   (is_evolve ? "True" : "False") + kCheckpoint,
               folder.path());
    const SavedBackbone saved = open_backbone(folder / "model.ckpt");
    EXPECT_EQ(saved.name.network, is_evolve ? "ir_50_evolve" : "ir_50");
    EXPECT_EQ(saved.name.embedding_size, 512);
    saved.backbone->eval();
    const auto images = torch::linspace(-1, 1, 2 * 3 * 112 * 112).reshape({2, 3, 112, 112});
    const auto got = saved.backbone->forward(images);
    const NpyMatrix matrix(folder / "embeddings.npy");
    const auto want = torch::empty({2, 512});
    for (std::int64_t i = 0; i < 2; ++i)
      matrix.read_row(i, {want[i].mutable_data_ptr<float>(), 512});
    EXPECT_LT(((got - want).norm(2, 1) / want.norm(2, 1)).max().item<double>(), 1e-5) << is_evolve;
  }
}

TEST(Ir, GoesThroughPyTorchsFormatBitForBit) {
  const TemporaryFolder folder;
  const auto backbone = trained("ir_18");
  save_state_dict(*backbone, folder / "ir_18.pth");
  const SavedBackbone saved = open_backbone(folder / "ir_18.pth");
  EXPECT_EQ(saved.name.network, "ir_18");
  const auto got = state_of(*saved.backbone), want = state_of(*backbone);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(torch::equal(got[i].second, want[i].second)) << got[i].first;
  for (const auto& [name, tensor] : got) EXPECT_NE(name, "output_layer.4.weight");
}

TEST(Ir, Trains) {
  const auto backbone = make_backbone("ir_18", 16, 1);
  backbone->forward(torch::randn({2, 3, 112, 112})).square().sum().backward();
  for (const auto& item : backbone->named_parameters())
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
}

TEST(SwapRedAndBlue, MakesANetworkForBgrOneForRgb) {
  const torch::NoGradGuard no_grad;
  const auto images = torch::randn({2, 3, 112, 112});
  for (const std::string name : {"tiny", "mbf", "ir_18", "vit_t"}) {
    const auto backbone = trained(name);
    backbone->eval();
    const auto want = backbone->forward(images.flip(1));
    swap_red_and_blue(*backbone);
    const auto difference = backbone->forward(images) - want;
    EXPECT_LT((difference.norm() / want.norm()).item<double>(), 1e-4) << name;
  }
}

}  // namespace
}  // namespace pfc
