#include "pfc/data/synthetic_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/dataset.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/synthetic_face.h"
#include "pfc/data/verification_set.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SyntheticSet : public testing::Test {
 protected:
  SyntheticSetOptions options(std::string_view name) const {
    return {.folder = folder_ / name,
            .identities = 3,
            .images = 2,
            .unseen = 2,
            .pairs = 20,
            .seed = 5};
  }
  std::string error_of(const SyntheticSetOptions& options) const {
    try {
      write_synthetic_set(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
};

TEST_F(SyntheticSet, OpensAsATrainingSet) {
  write_synthetic_set(options("faces"));
  const auto set = open_dataset({.path = folder_ / "faces"});
  EXPECT_THAT(set->labels(), ElementsAre(0, 0, 1, 1, 2, 2));
  EXPECT_EQ(read_file(folder_ / "faces/property"), "3,112,112\n");
  std::vector<std::byte> scratch;
  const RgbImage drawn = synthetic_face(5, 1, 1), read = decode_image(set->image(3, scratch));
  ASSERT_EQ(read.pixels.size(), drawn.pixels.size());
  double difference = 0;
  for (std::size_t i = 0; i < drawn.pixels.size(); ++i) {
    difference += std::abs(int{drawn.pixels[i]} - int{read.pixels[i]});
  }
  EXPECT_LT(difference / static_cast<double>(drawn.pixels.size()), 8);
}

TEST_F(SyntheticSet, OpensAsAVerificationSetWithEqualHalvesInEveryTenth) {
  write_synthetic_set(options("faces"));
  const auto set = VerificationSet::open(folder_ / "faces/unseen.bin");
  ASSERT_EQ(set.pairs(), 20);
  for (int fold = 0; fold < 10; ++fold) {
    EXPECT_NE(set.same(2 * fold), set.same(2 * fold + 1)) << fold;
  }
  for (int i = 0; i < 40; ++i) EXPECT_NO_THROW(decode_image(set.image(i))) << i;
}

TEST_F(SyntheticSet, HasASheetWithARowAnIdentity) {
  write_synthetic_set(options("faces"));
  const std::string png = read_file(folder_ / "faces/faces.png");
  const RgbImage sheet = decode_image(std::as_bytes(std::span(png)));
  EXPECT_EQ(sheet.width, 2 * kFaceSize + 2);
  EXPECT_EQ(sheet.height, 3 * kFaceSize + 2 * 2);
}

TEST_F(SyntheticSet, IsTheSameWhateverTheNumberOfThreads) {
  SyntheticSetOptions three = options("three");
  three.threads = 3;
  write_synthetic_set(options("one"));
  write_synthetic_set(three);
  for (const std::string file : {"train.rec", "train.idx", "property", "unseen.bin", "faces.png"}) {
    EXPECT_EQ(read_file(folder_ / "one" / file), read_file(folder_ / "three" / file)) << file;
  }
}

TEST_F(SyntheticSet, TellsItsProgressUpToTheLastImage) {
  SyntheticSetOptions told = options("faces");
  std::int64_t last = 0;
  told.progress = [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, 3 * 2 + 2 * 20);
    last = done;
  };
  write_synthetic_set(told);
  EXPECT_EQ(last, 3 * 2 + 2 * 20);
}

TEST_F(SyntheticSet, IsNeverWrittenOverAnother) {
  write_text(folder_ / "faces/train.rec", "mine");
  EXPECT_THAT(error_of(options("faces")), HasSubstr("train.rec is there already"));
  EXPECT_EQ(read_file(folder_ / "faces/train.rec"), "mine");
}

TEST_F(SyntheticSet, RefusesWhatCannotBeASet) {
  SyntheticSetOptions odd = options("faces");
  odd.pairs = 30;
  EXPECT_THAT(error_of(odd), HasSubstr("30 pairs, want a multiple of 20"));
  SyntheticSetOptions lonely = options("faces");
  lonely.unseen = 1;
  EXPECT_THAT(error_of(lonely), HasSubstr("1 unseen identities, want 2"));
  SyntheticSetOptions none = options("faces");
  none.identities = 0;
  EXPECT_THAT(error_of(none), HasSubstr("0 identities, want 1"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "faces"));
}

}  // namespace
}  // namespace pfc
