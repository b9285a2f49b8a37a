// The recipes of configs/, as a user finds them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "pfc/model/backbone.h"
#include "pfc/train/config.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = PFC_CONFIGS;

std::vector<fs::path> recipes() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(kConfigs)) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  return files;
}

TEST(Recipes, ParseAndNameNetworksThatExist) {
  ASSERT_GT(recipes().size(), 20u);
  for (const fs::path& recipe : recipes()) {
    SCOPED_TRACE(recipe);
    EXPECT_THAT(backbone_names(), testing::Contains(load_config(recipe, {}).model.network));
  }
  for (const auto& entry : fs::directory_iterator(kConfigs / "base")) {
    EXPECT_NO_THROW(load_config(entry.path(), {})) << entry.path();
  }
}

TEST(Recipes, WriteToFoldersOfTheirOwnNames) {
  for (const fs::path& recipe : recipes())
    EXPECT_EQ(load_config(recipe, {}).output, "output/" + recipe.stem().string());
}

TEST(Recipes, HoldWhatTheFieldPublishes) {
  const Config glint = load_config(kConfigs / "glint360k_r100.toml", {});
  EXPECT_EQ(glint.head.margin, "cosface");
  EXPECT_EQ(glint.head.m, 0.4);
  EXPECT_EQ(glint.head.sample_rate, 0.1);
  EXPECT_EQ(glint.optimizer.weight_decay, 1e-4);
  EXPECT_EQ(glint.train.batch_size, 8 * 128);
  const Config ms1m = load_config(kConfigs / "ms1mv3_r50.toml", {});
  EXPECT_EQ(ms1m.head.margin, "arcface");
  EXPECT_EQ(ms1m.head.m, 0.5);
  EXPECT_EQ(ms1m.optimizer.weight_decay, 5e-4);
  const Config vit = load_config(kConfigs / "webface42m_vit_b.toml", {});
  EXPECT_EQ(vit.optimizer.kind, CenterOptimizer::Kind::kAdamW);
  EXPECT_EQ(vit.schedule.lr, 1e-3);
  EXPECT_EQ(vit.train.epochs, 40);
}

}  // namespace
}  // namespace pfc
