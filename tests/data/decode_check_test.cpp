#include "pfc/data/decode_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/stream/faces.h"
#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/record_io.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

TEST(CheckImages, NamesEveryOneThatDoesNotDecodeInOrder) {
  const TemporaryFolder folder;
  const std::string good =
      text_of(encode_jpeg({112, 112, std::vector<std::uint8_t>(3 * 112 * 112, 100)}, 90));
  {
    const auto sink = make_rec_sink(folder / "train.rec");
    std::vector<OwnedFace> faces;
    for (int i = 0; i < 2500; ++i)
      faces.push_back({i / 10, i % 1000 == 37 ? good.substr(0, good.size() / 2) : good});
    put(*sink, faces);
    sink->commit();
  }
  std::vector<std::string> broken;
  std::int64_t checked = 0, done = 0;
  check_images(
      *open_faces(folder / "train.rec"), 3,
      [&](const BrokenImage& image) {
        broken.push_back(image.name + " of " + std::to_string(image.identity));
        EXPECT_THAT(image.reason, testing::HasSubstr("corrupt JPEG"));
      },
      [&](StreamProgress progress, std::int64_t images) {
        EXPECT_EQ(progress.done == progress.total, images == 2500);  // not before the last one
        EXPECT_GE(progress.done, done);
        done = progress.done;
        checked = images;
      });
  EXPECT_THAT(broken, testing::ElementsAre("38 of 3", "1038 of 103", "2038 of 203"));
  EXPECT_EQ(checked, 2500);
}

TEST(CheckImages, ARecordWithoutBytesIsABrokenImageAndNotTheEndOfTheSet) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  for (const std::string_view image : {"", "no JPEG"})
    writer.add(0, std::as_bytes(std::span(image)));
  writer.commit();
  std::vector<std::string> reasons;
  check_images(
      *open_faces(folder / "train.rec"), 1,
      [&](const BrokenImage& image) { reasons.push_back(image.reason); },
      [](StreamProgress, std::int64_t) {});
  EXPECT_THAT(reasons, testing::ElementsAre("the image is empty", testing::_));
}

TEST(CheckFaces, NamesThoseOfAPartThatCannotBeHadInOrder) {
  const TemporaryFolder folder;
  const auto picture = [](int side) {
    const auto area = static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
    return text_of(encode_jpeg({side, side, std::vector<std::uint8_t>(3 * area, 100)}, 90));
  };
  std::vector<std::string> names;
  for (int i = 0; i < 600; ++i) {
    names.push_back(std::to_string(i) + ".jpg");
    if (i == 300) continue;  // not there
    write_text(folder / names.back(), i == 299 ? "<html>" : picture(i == 301 ? 100 : kFaceSize));
  }
  std::int64_t last = 0;
  const auto broken = check_faces(*list_images(folder.path(), names), 10, 590, 3,
                                  [&](std::int64_t done) { last = done; });
  ASSERT_EQ(broken.size(), 3u);
  for (std::int64_t i = 0; i < 3; ++i)
    EXPECT_EQ(broken[static_cast<std::size_t>(i)].image, 299 + i);
  EXPECT_THAT(broken[0].reason, testing::HasSubstr("image"));
  EXPECT_THAT(broken[1].reason, testing::HasSubstr("is not there"));
  EXPECT_THAT(broken[2].reason, testing::HasSubstr("100 x 100"));
  EXPECT_EQ(last, 580);
}

TEST(CheckFaces, AFaceThatCannotBeReadIsNoBrokenOne) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "0.jpg");  // reading it is an I/O error
  EXPECT_THROW(check_faces(*list_images(folder.path(), {"0.jpg"}), 0, 1, 1, [](std::int64_t) {}),
               IoError);
}

}  // namespace
}  // namespace pfc
