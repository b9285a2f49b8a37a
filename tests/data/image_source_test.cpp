#include "pfc/data/image_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "pfc/data/dataset.h"
#include "pfc/data/record_io.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string bytes_as_text(const ImageSource& images, std::int64_t i) {
  std::vector<std::byte> scratch;
  const auto bytes = images.image(i, scratch);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(OpenImages, TakesTheImagesOfAFolderAndThoseBelowInOrderOfTheirPaths) {
  const TemporaryFolder folder;
  for (const char* name :
       {"b.jpg", "a/2.PNG", "a/1.jpeg", "a/.hidden.jpg", ".git/3.jpg", "a/x.txt"})
    write_text(folder / name, name);
  const auto images = open_images(folder.path());
  EXPECT_THAT(names_of(*images), ElementsAre("a/1.jpeg", "a/2.PNG", "b.jpg"));
  EXPECT_EQ(bytes_as_text(*images, 1), "a/2.PNG");
  EXPECT_EQ(
      images->passed_over(),
      "1 file that is no JPEG, PNG, WebP or BMP (a/x.txt), 2 hidden files (.git, a/.hidden.jpg)");
}

TEST(OpenImages, TakesOneImage) {
  const TemporaryFolder folder;
  write_text(folder / "face.jpg", "bytes");
  const auto images = open_images(folder / "face.jpg");
  EXPECT_THAT(names_of(*images), ElementsAre("face.jpg"));
  EXPECT_EQ(bytes_as_text(*images, 0), "bytes");
}

TEST(OpenImages, NamesTheImagesOfARecByLabelAndKey) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  for (const std::int32_t label : {0, 0, 1})
    writer.add(label, std::as_bytes(std::span(std::string_view("image"))));
  writer.commit();
  for (const auto& path : {folder / "train.rec", folder.path()}) {
    const auto images = open_images(path);
    ASSERT_EQ(images->size(), 3);
    EXPECT_THAT(images->name(0), testing::StartsWith("0/"));
    EXPECT_THAT(images->name(2), testing::StartsWith("1/"));
    EXPECT_EQ(bytes_as_text(*images, 2), "image");
  }
}

TEST(OpenImages, ThoseThatATrainingNotedAsBrokenAreAmongThem) {
  const TemporaryFolder folder;
  FaceRecordWriter writer(folder / "train.rec");
  for (int i = 0; i < 2; ++i) writer.add(0, std::as_bytes(std::span(std::string_view("image"))));
  writer.commit();
  open_dataset({.path = folder.path()})->exclude(0, "corrupt JPEG");
  ASSERT_EQ(open_dataset({.path = folder.path()})->size(), 1);
  EXPECT_EQ(open_images(folder.path())->size(), 2);
}

TEST(OpenImages, SaysWhereThereIsNoImage) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { (void)open_images(folder.path()); },
              ThrowsMessage<Error>(HasSubstr("no image found")));
  EXPECT_THAT([&] { (void)open_images(folder / "none"); },
              ThrowsMessage<Error>(HasSubstr("not found")));
}

}  // namespace
}  // namespace pfc
