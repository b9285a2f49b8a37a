#include "pfc/train/torch_centers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>

#include "formats/torch_archives.h"
#include "pfc/base/error.h"
#include "pfc/formats/safetensors.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class TorchCentersFile : public testing::Test {
 protected:
  /// Writes a torch.save file of a tensor [rows, 2] of `value`, or of a reference checkpoint with
  /// it.
  void write(const std::string& name, int rows, float value, bool checkpoint = false,
             const std::string& type = "Float") const {
    const auto number = [](int n) { return "K"s + static_cast<char>(n); };
    const std::string tensor = PickledTensor{.type = type,
                                             .size = number(2 * rows),
                                             .shape = number(rows) + number(2),
                                             .strides = number(2) + number(1)}
                                   .text();
    auto entries = torch_entries(checkpoint ? "}(Vepoch\nK\1Vstate_dict_softmax_fc\n}(Vweight\n" +
                                                  tensor + "uu."
                                            : tensor + ".");
    const std::vector<float> numbers(static_cast<std::size_t>(2 * rows), value);
    entries[2].second.assign(reinterpret_cast<const char*>(numbers.data()), 8 * numbers.size() / 2);
    const auto file = zip_archive(entries);
    write_text(folder_ / name, {reinterpret_cast<const char*>(file.data()), file.size()});
  }

  void expect_refused(const std::string& sentence) const {
    EXPECT_THAT([&] { find_torch_centers(folder_.path()); },
                testing::Throws<Error>(testing::Property(&Error::what, HasSubstr(sentence))));
  }

  TemporaryFolder folder_;
};

TEST_F(TorchCentersFile, EveryRanksCentresKeepTheirClasses) {
  for (const bool checkpoint : {false, true}) {
    const std::string before = checkpoint ? "checkpoint_gpu_" : "rank_";
    const std::string after = checkpoint ? ".pt" : "_softmax_weight.pt";
    const TemporaryFolder out;
    write(before + "0" + after, 3, 0.5f, checkpoint);
    write(before + "1" + after, 2, 1.5f, checkpoint);
    write(before + "2" + after, 2, 2.5f, checkpoint);
    write_text(folder_ / "rank_0_softmax_weight_mom.pt", "");
    const TorchCenters centers = find_torch_centers(folder_.path());
    EXPECT_EQ(centers.classes, 7);
    EXPECT_EQ(centers.dim, 2);
    EXPECT_EQ(centers.backbone, checkpoint ? centers.files[0] : std::filesystem::path());
    convert_centers(centers, out.path());
    const SafetensorsFile second(out / "centers-00002-of-00003.safetensors");
    const TensorView& found = second.tensors().at(0);
    EXPECT_EQ(found.name, "centers");
    EXPECT_EQ(found.dtype, "F32");
    EXPECT_THAT(found.shape, ElementsAre(2, 2));
    const std::vector<float> want(4, 1.5f);
    EXPECT_TRUE(std::ranges::equal(found.bytes, std::as_bytes(std::span(want))));
    EXPECT_EQ(second.metadata("format"), "partial-fc centers 1");
    EXPECT_EQ(second.metadata("classes"), "7");
    EXPECT_EQ(second.metadata("first_class"), "3");
    EXPECT_TRUE(std::filesystem::exists(out / "centers-00003-of-00003.safetensors"));
    for (const auto& file : centers.files) std::filesystem::remove(file);
  }
}

TEST_F(TorchCentersFile, TheNetworkOfTheOlderCodeLiesBesideThem) {
  write("rank_0_softmax_weight.pt", 3, 0);
  write_text(folder_ / "backbone.pth", "");
  EXPECT_EQ(find_torch_centers(folder_.path()).backbone, folder_ / "backbone.pth");
}

TEST_F(TorchCentersFile, AMissingRankIsNamed) {
  write("rank_0_softmax_weight.pt", 3, 0);
  write("rank_2_softmax_weight.pt", 2, 0);
  expect_refused("rank_1_softmax_weight.pt is missing; the ranks go to 2");
}

TEST_F(TorchCentersFile, SizesThatDoNotFitAreNamed) {
  write("rank_0_softmax_weight.pt", 2, 0);
  write("rank_1_softmax_weight.pt", 4, 0);
  expect_refused(
      "rank_0_softmax_weight.pt: centres: found 2 classes, want 3: a rank's share of the 6 that 2 "
      "ranks have");
  write("rank_1_softmax_weight.pt", 0, 0);
  expect_refused("rank_0_softmax_weight.pt: centres: found 2 classes, want 1");
}

TEST_F(TorchCentersFile, TensorsOfOtherKindsAreRefused) {
  write("rank_0_softmax_weight.pt", 3, 0, /*checkpoint=*/false, "Int");
  expect_refused(
      "rank_0_softmax_weight.pt: the file's tensor: found I32 [3, 2], want F32 [classes");
  write("rank_0_softmax_weight.pt", 3, 0, /*checkpoint=*/true);
  expect_refused("rank_0_softmax_weight.pt: the file's tensor: missing");
}

TEST_F(TorchCentersFile, AFolderWithoutThemOrWithBothKindsIsRefused) {
  expect_refused("holds neither rank_0_softmax_weight.pt nor checkpoint_gpu_0.pt");
  write("rank_0_softmax_weight.pt", 3, 0);
  write("checkpoint_gpu_0.pt", 3, 0, true);
  expect_refused("holds both rank_0_softmax_weight.pt and checkpoint_gpu_0.pt");
}

}  // namespace
}  // namespace pfc
