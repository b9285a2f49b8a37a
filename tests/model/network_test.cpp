#include "pfc/model/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "pfc/base/error.h"
#include "pfc/formats/safetensors.h"
#include "pfc/model/backbone_file.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class Scaled : public Backbone {
 public:
  explicit Scaled(const NetworkArguments& arguments) {
    const auto width = std::get<std::int64_t>(arguments.options.at("width"));
    weight =
        register_parameter("weight", torch::full({arguments.embedding_size, width},
                                                 std::get<double>(arguments.options.at("start"))));
  }
  torch::Tensor forward(torch::Tensor images) override {
    return images.flatten(1).narrow(1, 0, weight.size(1)).matmul(weight.t());
  }
  torch::Tensor weight;
};

Network scaled(std::string name) {
  return {.name = std::move(name),
          .options = {{"width", std::int64_t{4}}, {"start", 0.5}, {"kind", std::string("plain")}},
          .make = [](const NetworkArguments& arguments) -> std::shared_ptr<Backbone> {
            return std::make_shared<Scaled>(arguments);
          }};
}

const bool kIsRegistered = [] {
  register_network(scaled("network_test_scaled"));
  return true;
}();

std::string refusal(const NamedValues& options) {
  try {
    require_network("network_test_scaled", options);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Network, ARegisteredOneIsMadeByItsNameWithItsOptions) {
  ASSERT_TRUE(kIsRegistered);
  const auto usual = make_backbone("network_test_scaled", 8, 0);
  EXPECT_EQ(usual->parameters()[0].sizes(), (torch::IntArrayRef{8, 4}));
  const auto wide =
      make_backbone("network_test_scaled", 8, 0, {{"width", std::int64_t{6}}, {"start", 2.0}});
  EXPECT_TRUE(torch::equal(wide->parameters()[0], torch::full({8, 6}, 2.0)));
  EXPECT_EQ(wide->title(), "network_test_scaled");
}

TEST(Network, AnIntegerIsANumber) {
  const auto made = make_backbone("network_test_scaled", 8, 0, {{"start", std::int64_t{3}}});
  EXPECT_EQ(made->parameters()[0].max().item<double>(), 3);
}

TEST(Network, LowRankPartsAreForNetworksThatHaveThem) {
  require_network("vit_t", {{"lora_rank", std::int64_t{8}}});
  EXPECT_THAT(
      [] {
        require_network("r50", {{"lora_rank", std::int64_t{8}}});
      },
      ThrowsMessage<Error>("model.lora_rank: network 'r50' cannot train low-rank parts; vision "
                           "transformers can (vit_t, vit_s, …)"));
  EXPECT_THAT(
      [] {
        make_backbone("vit_t", 8, 0, {{"lora_rank", std::int64_t{257}}});
      },
      ThrowsMessage<Error>("model.lora_rank is 257, want 0 to 256"));
}

TEST(Network, UnknownOptionsAndOtherTypesAreRefusedByName) {
  EXPECT_EQ(refusal({{"widht", std::int64_t{4}}}),
            "model.options.widht: network 'network_test_scaled' has no such option; the nearest is "
            "width");
  EXPECT_EQ(refusal({{"width", 4.0}}),
            "model.options.width: found a number, network 'network_test_scaled' wants an integer");
  EXPECT_EQ(
      refusal({{"kind", true}}),
      "model.options.kind: found true or false, network 'network_test_scaled' wants a string");
  EXPECT_EQ(refusal({{"kind", std::string("deep")}}), "accepted");
  EXPECT_THAT([] { require_network("r5O", {}); },
              ThrowsMessage<Error>(HasSubstr("the nearest known one is r50")));
  EXPECT_THAT(
      [] {
        require_network("tiny", {{"width", true}});
      },
      ThrowsMessage<Error>(HasSubstr("network 'tiny' has no such option, and no other")));
}

TEST(Network, ANameIsRegisteredOnce) {
  EXPECT_THAT([] { register_network(scaled("network_test_scaled")); },
              ThrowsMessage<Error>(HasSubstr("registered already")));
  EXPECT_THAT([] { register_network(scaled("r50")); },
              ThrowsMessage<Error>(HasSubstr("registered already")));
}

TEST(Network, AFileHoldsItsOptions) {
  const TemporaryFolder folder;
  const auto path = folder / "scaled.safetensors";
  const auto made = make_backbone("network_test_scaled", 8, 0,
                                  {{"width", std::int64_t{6}}, {"kind", std::string("a \"b\"")}});
  save_backbone(*made, "network_test_scaled", 8, path);
  const SavedBackbone found = open_backbone(path);
  EXPECT_EQ(
      found.name.options,
      (NamedValues{{"width", std::int64_t{6}}, {"start", 0.5}, {"kind", std::string("a \"b\"")}}));
  EXPECT_TRUE(torch::equal(found.backbone->parameters()[0], made->parameters()[0]));
  {
    const SafetensorsFile file(path);
    Metadata metadata = file.metadata();
    metadata["options"] = "{ wide = 3 }";
    write_safetensors(path, file.tensors(), metadata);
  }
  EXPECT_THAT([&] { open_backbone(path); }, ThrowsMessage<Error>(HasSubstr("no such option")));
}

}  // namespace
}  // namespace pfc
