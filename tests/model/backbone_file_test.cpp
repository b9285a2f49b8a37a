#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>

#include "model/backbone_state.h"
#include "pfc/base/error.h"
#include "pfc/formats/safetensors.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

class BackboneFile : public testing::Test {
 protected:
  /// Saves `tiny`, lets `change` alter the file, and expects that loading it fails for this reason.
  void expect_refused(const std::function<void(std::vector<TensorView>&, Metadata&)>& change,
                      const std::string& reason) {
    const auto path = folder_ / "model.safetensors";
    save_backbone(*make_backbone("tiny", 8, 1), "tiny", 8, path);
    {
      const SafetensorsFile file(path);
      auto tensors = file.tensors();
      auto metadata = file.metadata();
      change(tensors, metadata);
      write_safetensors(path, tensors, metadata);
    }
    EXPECT_THAT([&] { load_backbone(path); }, testing::Throws<DataError>(testing::Property(
                                                  &DataError::what, testing::HasSubstr(reason))));
  }

  static TensorView& named(std::vector<TensorView>& tensors, const std::string& name) {
    return *std::ranges::find(tensors, name, &TensorView::name);
  }

  TemporaryFolder folder_;
};

TEST_F(BackboneFile, WhatIsSavedIsLoaded) {
  const auto path = folder_ / "model.safetensors";
  for (const std::string name : {"tiny", "mbf", "vit_t"}) {
    const auto saved = make_backbone(name, 8, 1);
    saved->set_draws(0, 0, 2);
    saved->forward(torch::randn({2, 3, 112, 112}));  // changes the running statistics
    save_backbone(*saved, name, 8, path);
    const auto want = state_of(*saved), got = state_of(*load_backbone(path));
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].first, want[i].first);
      EXPECT_TRUE(torch::equal(got[i].second, want[i].second)) << name << ": " << want[i].first;
    }
  }
}

/// Low-rank parts stay apart in a file; a network that has none gets them within its weights.
TEST_F(BackboneFile, OfLowRankPartsIsLoadedApartOrMerged) {
  const torch::NoGradGuard no_grad;
  const auto path = folder_ / "apart.safetensors", plain_path = folder_ / "plain.safetensors";
  const auto low_rank = make_backbone("vit_t", 8, 1, {{"lora_rank", std::int64_t{2}}});
  for (const auto& item : low_rank->named_parameters()) {
    if (item.key().ends_with(".lora.up")) item.value().normal_(0, 0.1);
  }
  save_backbone(*low_rank, "vit_t", 8, path);
  low_rank->eval();
  const torch::Tensor images = torch::randn({2, 3, 112, 112}), want = low_rank->forward(images);
  const auto embed = [&](Backbone& backbone) {
    backbone.eval();
    return backbone.forward(images);
  };
  EXPECT_TRUE(embed(*load_backbone(path)).equal(want));

  const auto plain = make_backbone("vit_t", 8, 9);
  load_backbone(path, *plain);
  EXPECT_TRUE(embed(*plain).allclose(want, 1e-4, 1e-5));

  save_backbone(*plain, "vit_t", 8, plain_path);
  const auto other_rank = make_backbone("vit_t", 8, 9, {{"lora_rank", std::int64_t{3}}});
  for (const auto& file : {path, plain_path}) {
    load_backbone(file, *other_rank);
    EXPECT_TRUE(embed(*other_rank).allclose(want, 1e-4, 1e-5)) << file;
  }
}

TEST_F(BackboneFile, RefusesAFileThatIsNotTheNetworkItNames) {
  expect_refused([](auto& tensors,
                    auto&) { std::erase_if(tensors, [](auto& t) { return t.name == "fc.bias"; }); },
                 "tensor 'fc.bias': missing");
  expect_refused([](auto& tensors, auto&) { named(tensors, "fc.bias").name = "fc.bios"; },
                 "tensor 'fc.bios': tiny has no such tensor");
  expect_refused(
      [](auto& tensors, auto&) {
        named(tensors, "fc.bias").shape = {2, 4};
      },
      "tensor 'fc.bias': shape [2, 4], want [8]");
  expect_refused([](auto& tensors, auto&) { named(tensors, "fc.bias").dtype = "I32"; },
                 "tensor 'fc.bias': dtype I32, want F32");
  expect_refused([](auto&, auto& metadata) { metadata["network"] = "huge"; },
                 "network 'huge' is unknown");
  expect_refused([](auto&, auto& metadata) { metadata["embedding_size"] = "8x"; },
                 "embedding_size '8x', want an integer");
  expect_refused([](auto&, auto& metadata) { metadata["embedding_size"] = "99999999999"; },
                 "embedding size 99999999999, want 1 to 8192");
  expect_refused([](auto&, auto& metadata) { metadata["format"] = "partial-fc centers 1"; },
                 "format 'partial-fc centers 1', want 'partial-fc backbone 1'");
}

TEST_F(BackboneFile, AStateDictInSafetensorsIsRecognisedByItsTensors) {
  const auto saved = make_backbone("tiny", 8, 1);
  const auto path = folder_ / "pytorchs.safetensors";
  save_backbone(*saved, "tiny", 8, path);
  for (const Metadata& metadata : {Metadata{}, Metadata{{"format", "pt"}}}) {
    {
      const SafetensorsFile file(path);
      write_safetensors(path, file.tensors(), metadata);
    }
    const SavedBackbone found = open_backbone(path);
    EXPECT_EQ(found.name.network, "tiny");
    EXPECT_EQ(found.name.embedding_size, 8);
    EXPECT_TRUE(torch::equal(found.backbone->parameters()[0], saved->parameters()[0]));
  }
  write_safetensors(path, std::vector<TensorView>{}, {{"format", "pt"}});
  EXPECT_THAT([&] { open_backbone(path); },
              testing::Throws<DataError>(testing::Property(
                  &DataError::what,
                  testing::HasSubstr("header: found 0 tensors, want those of a known network"))));
}

}  // namespace
}  // namespace pfc
