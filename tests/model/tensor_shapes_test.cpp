#include "model/tensor_shapes.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "model/state_dict.h"
#include "pfc/model/backbone.h"

namespace pfc {
namespace {

TEST(RecogniseNetwork, EveryNetworkIsRecognisedByItsTensors) {
  for (const std::string& name : backbone_names()) {
    // Networks of gigabytes differ from smaller ones only in numbers.
    if (name == "vit_h" || name.starts_with("vit_l") || name == "r200" || name == "ir_152_evolve")
      continue;
    TensorShapes shapes;
    for (const auto& [tensor, value] : state_of(*make_backbone(name, 24, 1))) {
      shapes[tensor] = value.sizes().vec();
    }
    const auto exact = recognise_network(shapes, name);
    ASSERT_TRUE(exact) << name;
    EXPECT_EQ(exact->network, name);
    EXPECT_EQ(exact->embedding_size, 24);
    const auto found = recognise_network(shapes, "");
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->network, name.substr(0, name.find("_dp005"))) << name;
  }
}

TEST(RecogniseNetwork, AnotherNumberOfBlocksIsAnotherNetwork) {
  TensorShapes shapes;
  for (const auto& [tensor, value] : state_of(*make_backbone("r18", 24, 1))) {
    shapes[tensor] = value.sizes().vec();
  }
  shapes["layer3.2.conv1.weight"] = {256, 256, 3, 3};
  EXPECT_FALSE(recognise_network(shapes, ""));
  EXPECT_FALSE(recognise_network({}, ""));
}

}  // namespace
}  // namespace pfc
