#include "model/folded_norms.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <string>

#include "model/trained_network.h"
#include "pfc/export/onnx.h"
#include "pfc/model/backbone_file.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

TEST(FoldedNorms, AreThoseOfNoNetworkThatWasDrawnOrTrained) {
  for (const std::string name : {"tiny", "mbf"}) {
    EXPECT_TRUE(folded_norms(*make_backbone(name, 8, 1)).empty());
    EXPECT_TRUE(folded_norms(*trained(name)).empty());
  }
}

TEST(FoldedNorms, KeepTheEmbeddingsAndTrainAsBeforeTheyWereFolded) {
  const torch::NoGradGuard no_grad;
  const TemporaryFolder folder;
  for (const std::string name : {"tiny", "mbf"}) {
    const auto original = trained(name);
    const auto images = torch::randn({24, 3, 112, 112}, at::detail::createCPUGenerator(1));
    take_statistics(*original, images);
    const auto want = original->forward(images);
    original->eval();
    export_onnx(*original, folder / "net.onnx");
    const auto found = load_backbone(folder / "net.onnx");
    const auto norms = folded_norms(*found);
    EXPECT_GT(norms.size(), 10u);
    found->eval();
    const auto before = found->forward(images);
    measure_norms(norms, [&] {
      for (const auto& part : images.split(12)) found->forward(part);
    });
    EXPECT_TRUE(folded_norms(*found).empty());
    const auto after = found->forward(images);
    EXPECT_LT(((after - before).norm() / before.norm()).item<double>(), 1e-5) << name;
    // Of 24 values the variance that a batch is divided by is 4% below the one that is kept.
    found->train();
    EXPECT_GT(torch::cosine_similarity(found->forward(images), want, 1).min().item<double>(), 0.999)
        << name;
  }
}

}  // namespace
}  // namespace pfc
