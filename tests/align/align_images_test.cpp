#include "pfc/align/align_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

class AlignImages : public testing::Test {
 protected:
  void SetUp() override {
    const RgbImage photo{200, 150, std::vector<std::uint8_t>(3 * 200 * 150, 77)};
    for (const char* name : {"photos/anna/1.png", "photos/bob/1.png", "photos/bob/2.png"})
      write_text(folder_ / name, text_of(encode_png(photo)));
    write_text(folder_ / "photos/bob/3.jpg", "no image");
  }
  AlignCounts align(const std::string& out = "faces") const {
    return align_images(*open_images(folder_ / "photos"),
                        [](std::string_view name, const RgbImage& picture) {
                          EXPECT_EQ(picture.width, 200);
                          if (name == "bob/2.png") throw Error("no landmarks");
                          return kFaceTemplate;
                        },
                        {.folder = folder_ / out, .png = true, .threads = 2});
  }

  TemporaryFolder folder_;
};

TEST_F(AlignImages, KeepsTheFoldersAndListsWhatItCouldNotAlign) {
  const AlignCounts counts = align();
  EXPECT_EQ(counts.aligned, 2);
  EXPECT_EQ(counts.kept, 0);
  EXPECT_EQ(counts.not_aligned, 2);
  const MappedFile face(folder_ / "faces/anna/1.png");
  EXPECT_EQ(image_size(face.bytes()), (ImageSize{112, 112}));
  EXPECT_EQ(decode_image(face.bytes()).pixels[0], 77);
  EXPECT_EQ(read_file(folder_ / "faces/not_aligned.txt"),
            "bob/2.png\tno landmarks\nbob/3.jpg\tno image that is read, found a text that begins "
            "\"no image\", want JPEG, "
            "PNG, WebP or BMP\n");
}

TEST_F(AlignImages, GoesOnWhereAnInterruptedRunStopped) {
  write_text(folder_ / "faces.partial/anna/1.png", "of an earlier run");
  const AlignCounts counts = align();
  EXPECT_EQ(counts.aligned, 2);
  EXPECT_EQ(counts.kept, 1);
  EXPECT_EQ(read_file(folder_ / "faces/anna/1.png"), "of an earlier run");
  EXPECT_FALSE(fs::exists(folder_ / "faces.partial"));
}

TEST_F(AlignImages, RefusesToGoOnInAnotherSize) {
  write_text(folder_ / "faces.partial/anna/1.png",
             text_of(encode_png({160, 160, std::vector<std::uint8_t>(3 * 160 * 160)})));
  EXPECT_THAT([&] { align(); },
              ThrowsMessage<Error>(HasSubstr("anna/1.png: an interrupted run wrote faces of 160 x "
                                             "160 pixels, want 112 x 112; remove")));
  EXPECT_TRUE(fs::exists(folder_ / "faces.partial/anna/1.png"));
}

TEST_F(AlignImages, LeavesNothingInTheSetButFacesAndItsList) {
  // What a killed run left: a half-written face, its list, and the temporary file of the list.
  for (const char* name : {"anna/1.png.tmp", "not_aligned.txt", "not_aligned.txt.tmp17.0"})
    write_text(folder_ / "faces.partial" / name, "left behind");
  fs::remove(folder_ / "photos/bob/3.jpg");
  fs::remove(folder_ / "photos/bob/2.png");
  EXPECT_EQ(align().not_aligned, 0);
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "faces"))
    if (entry.is_regular_file()) files.insert(entry.path().filename().string());
  EXPECT_EQ(files, std::set<std::string>({"1.png"}));  // anna's and bob's
}

TEST_F(AlignImages, TellsWhatAnEarlierRunHadDoneBeforeItsOwnWork) {
  write_text(folder_ / "faces.partial/anna/1.png", "of an earlier run");
  write_text(folder_ / "faces.partial/bob/1.png", "of an earlier run");
  std::vector<std::int64_t> told;
  align_images(*open_images(folder_ / "photos"),
               [](std::string_view, const RgbImage&) { return kFaceTemplate; },
               {.folder = folder_ / "faces",
                .png = true,
                .progress = [&](std::int64_t done, std::int64_t total) {
                  EXPECT_EQ(total, 4);
                  told.push_back(done);
                }});
  EXPECT_EQ(told, std::vector<std::int64_t>({2, 3, 4}));
}

TEST_F(AlignImages, ListsAnyNameInOneLine) {
  fs::rename(folder_ / "photos/bob/3.jpg", folder_ / "photos/bob/3\t\n\\.jpg");
  EXPECT_EQ(align().first_reason, "bob/2.png: no landmarks");
  EXPECT_EQ(read_file(folder_ / "faces/not_aligned.txt"),
            "bob/2.png\tno landmarks\nbob/3\\t\\n\\\\.jpg\tno image that is read, found a text "
            "that begins \"no image\", "
            "want JPEG, PNG, WebP or BMP\n");
}

TEST_F(AlignImages, SeesAPhotoAsItsCameraWasHeld) {
  RgbImage photo{160, 120, std::vector<std::uint8_t>(3 * 160 * 120, 40)};
  for (std::size_t i = 0; i < photo.pixels.size() / 2; ++i)
    photo.pixels[i] = 220;  // its upper half
  std::string jpeg = text_of(encode_jpeg(photo, 95));
  using namespace std::string_literals;
  jpeg.insert(2,
              "\xFF\xE1\x00\x22"s
              "Exif\0\0MM\0*\0\0\0\x08\0\x01"s
              "\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"s);
  write_text(folder_ / "held/1.jpg", jpeg);
  align_images(*open_images(folder_ / "held"),
               [](std::string_view, const RgbImage& picture) {
                 EXPECT_EQ(picture.width, 120);  // a quarter turn to the right
                 EXPECT_EQ(picture.height, 160);
                 return kFaceTemplate;
               },
               {.folder = folder_ / "faces", .png = true});
  const MappedFile file(folder_ / "faces/1.png");
  const RgbImage face = decode_image(file.bytes());
  EXPECT_NEAR(face.pixels[3 * (56 * 112 + 5)], 40, 4);     // left
  EXPECT_NEAR(face.pixels[3 * (56 * 112 + 105)], 220, 4);  // right
}

TEST_F(AlignImages, RefusesTwoPicturesOfOneNameAndAFolderThatIsThere) {
  fs::create_directory(folder_ / "there");
  EXPECT_THAT([&] { align("there"); }, ThrowsMessage<Error>(HasSubstr("there is there already")));
  fs::copy(folder_ / "photos/bob/1.png", folder_ / "photos/bob/1.jpg");
  EXPECT_THAT([&] { align(); },
              ThrowsMessage<Error>(HasSubstr("two pictures would become bob/1.png")));
}

TEST_F(AlignImages, FailsWhereNothingWasAligned) {
  EXPECT_THAT(
      [&] {
        align_images(*open_images(folder_ / "photos"),
                     [](std::string_view, const RgbImage&) -> Landmarks { throw Error("none"); },
                     {.folder = folder_ / "faces"});
      },
      ThrowsMessage<Error>(HasSubstr("none of 4 pictures was aligned")));
  EXPECT_FALSE(fs::exists(folder_ / "faces"));
}

}  // namespace
}  // namespace pfc
