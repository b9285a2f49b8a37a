#include "pfc/data/face_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "data/record_file.h"
#include "data/stream/faces.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/image_codec.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string picture(int size, bool png) {
  const RgbImage image{size, size,
                       std::vector<std::uint8_t>(3 * static_cast<std::size_t>(size) * size, 90)};
  return text_of(png ? encode_png(image) : encode_jpeg(image, 90));
}

/// Twelve images of each identity, so that 7_10 comes after 7_9; one holds a record's magic.
std::vector<OwnedFace> some_faces() {
  std::vector<OwnedFace> faces;
  for (std::int64_t identity : {0, 1, 2, 10}) {
    for (int i = 0; i < 12; ++i)
      faces.push_back({identity, std::to_string(identity) + " " + std::to_string(i)});
  }
  faces[5].image = std::string(8, 'x') + "\x0a\x23\xd7\xce" + "after the magic";
  faces[7].image = picture(112, true);
  return faces;
}

class FaceStream : public testing::Test {
 protected:
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }
  void write_rec(const std::string& name) const {
    const auto sink = make_rec_sink(folder_ / name);
    put(*sink, some_faces());
    sink->commit();
  }

  TemporaryFolder folder_;
};

TEST_F(FaceStream, AFolderIsDoneWithItsLastImage) {
  for (const char* name : {"ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg"})
    write_text(folder_ / name, name);
  const auto source = open_faces(folder_.path());
  std::vector<std::int64_t> done;
  for (Face face; source->next(face);) done.push_back(source->progress().done);
  EXPECT_THAT(done, ElementsAre(0, 1, 1, 2));
}

TEST_F(FaceStream, ReadingASetLeavesItsFolderAsItIs) {
  write_rec("train.rec");
  const std::size_t before = entries();
  EXPECT_EQ(all_in(folder_ / "train.rec"), some_faces());
  EXPECT_EQ(entries(), before);
}

TEST_F(FaceStream, GoesThroughEveryFormatWithoutChangingAByte) {
  write_rec("first.rec");
  const std::string rec = read_file(folder_ / "first.rec");
  EXPECT_EQ(all_in(folder_ / "first.rec"), some_faces());
  const auto through = [&](std::unique_ptr<FaceSink> sink, const fs::path& path) {
    copy(*open_faces(folder_ / "first.rec"), *sink);
    EXPECT_EQ(all_in(path), some_faces()) << path;
    const auto back = make_rec_sink(folder_ / "back.rec");
    copy(*open_faces(path), *back);
    EXPECT_EQ(read_file(folder_ / "back.rec"), rec) << path;
  };
  through(make_folder_sink(folder_ / "folder"), folder_ / "folder");
  through(make_folder_sink(folder_ / "list", true), folder_ / "list" / "train.lst");
  through(make_tar_sink(folder_ / "shards", 50), folder_ / "shards");
  EXPECT_TRUE(fs::exists(folder_ / "shards/shard-000001.tar"));
}

TEST_F(FaceStream, UnpacksIntoTheLayoutOfTheField) {
  write_rec("train.rec");
  const auto sink = make_folder_sink(folder_ / "out");
  for (int input = 0; input < 2; ++input) {  // equal labels share a folder, and the count continues
    const auto source = open_faces(folder_ / "train.rec");
    for (Face face; source->next(face);) sink->add(face);
  }
  sink->commit();
  EXPECT_EQ(read_file(folder_ / "out/id_1/1_12.jpg"), "1 0");
  EXPECT_EQ(read_file(folder_ / "out/id_10/10_47.jpg"), "10 11");
  EXPECT_EQ(read_file(folder_ / "out/id_1/1_60.jpg"), "1 0");
  EXPECT_TRUE(fs::exists(folder_ / "out/id_0/0_7.png"));
}

TEST_F(FaceStream, NumbersOtherFoldersInTheOrderOfTheirNames) {
  write_text(folder_ / "photos/bob/2.jpg", "b2");
  write_text(folder_ / "photos/bob/1.PNG", "b1");
  write_text(folder_ / "photos/anna/x.jpeg", "a");
  write_text(folder_ / "photos/carl/notes.txt", "no image");
  write_text(folder_ / "photos/id_7/y.jpg", "not all are called so");
  EXPECT_THAT(all_in(folder_ / "photos"),
              ElementsAre(OwnedFace{0, "a"}, OwnedFace{1, "b1"}, OwnedFace{1, "b2"},
                          OwnedFace{2, "not all are called so"}));
}

TEST_F(FaceStream, ATarBesideThePeoplesFoldersIsPassedOver) {
  write_text(folder_ / "photos/ann/1.jpg", "a");
  write_text(folder_ / "photos/backup.tar", "");
  const auto source = open_faces(folder_ / "photos");
  EXPECT_THAT(all_of(*source), ElementsAre(OwnedFace{0, "a"}));
  EXPECT_THAT(source->passed_over(), HasSubstr("backup.tar"));
}

TEST_F(FaceStream, ReadsAListInTheOrderOfItsLabels) {
  write_text(folder_ / "images/a b.jpg", "two");
  write_text(folder_ / "images/c.jpg", "one");
  write_text(folder_ / "train.lst", "0\t2.000000\ta b.jpg\n\n1\t1\t0.5\t7\tc.jpg\r\n");
  EXPECT_THAT(all_in(folder_ / "train.lst", folder_ / "images"),
              ElementsAre(OwnedFace{1, "one"}, OwnedFace{2, "two"}));
  EXPECT_THAT(
      [&] { open_faces(folder_ / "train.lst"); },
      ThrowsMessage<Error>(AllOf(
          HasSubstr("train.lst: 2 of 2 images are not there: "), HasSubstr("c.jpg in line 3, "),
          HasSubstr("; paths begin in " + folder_.path().string() + ", `pfc data pack --root`"))));
}

TEST_F(FaceStream, ReadsListsOfEveryFormOfTheField) {
  write_text(folder_ / "a b.jpg", "two");
  write_text(folder_ / "c.jpg", "one");
  for (const char* text : {"0\t2\ta b.jpg\n1\t1\tc.jpg\n", "1\ta b.jpg\t2\n1\tc.jpg\t1\n",
                           "a b.jpg\t2\r\nc.jpg\t1 \r\n",
                           "\xef\xbb\xbf"
                           "a b.jpg 2\nc.jpg 1",
                           "a b.jpg,2\nc.jpg,1\n", "path,label\na b.jpg, 2\n\"c.jpg\", 1\n",
                           "0 2 a b.jpg\n1 1 c.jpg\n", "1 a b.jpg 2\n1 c.jpg 1\n",
                           "1\ta b.jpg\t2\t0\t0\t112\t112\n1\tc.jpg\t1\t0\t0\t112\t112\n"}) {
    for (const char* name : {"train.lst", "label.txt", "faces.csv"}) {
      write_text(folder_ / name, text);
      EXPECT_THAT(all_in(folder_ / name), ElementsAre(OwnedFace{1, "one"}, OwnedFace{2, "two"}))
          << text;
    }
  }
}

TEST_F(FaceStream, RefusesPhotosThatAListSaysAreNotAligned) {
  write_text(folder_ / "train.lst", "1\ta.jpg\t0\n0\tb.jpg\t1\n");
  EXPECT_THAT(
      [&] { open_faces(folder_ / "train.lst"); },
      ThrowsMessage<DataError>(AllOf(HasSubstr("line 2: found"), HasSubstr("pfc data align"))));
}

TEST_F(FaceStream, KeepsFoldersApartWhoseNumbersAreTheSame) {
  write_text(folder_ / "photos/id_1/a.jpg", "one");
  write_text(folder_ / "photos/id_01/a.jpg", "another");
  EXPECT_THAT(all_in(folder_ / "photos"),
              ElementsAre(OwnedFace{0, "another"}, OwnedFace{1, "one"}));
}

TEST_F(FaceStream, TellsWhatItPassesOver) {
  write_text(folder_ / "photos/ann/1.jpg", "a");
  write_text(folder_ / "photos/group/bob/IMG_1", picture(8, false));  // by its first bytes
  write_text(folder_ / "photos/ann/movie.gif", "GIF89a");
  write_text(folder_ / "photos/ann/.DS_Store", "x");
  fs::create_directories(folder_ / "photos/empty");
  fs::create_symlink(folder_ / "gone", folder_ / "photos/ann/2.jpg");
  fs::create_symlink("..", folder_ / "photos/ann/back");
  const auto source = open_faces(folder_ / "photos");
  EXPECT_THAT(all_of(*source), ElementsAre(OwnedFace{0, "a"}, OwnedFace{1, picture(8, false)}));
  EXPECT_EQ(source->passed_over(),
            "1 file that is no JPEG, PNG, WebP or BMP (ann/movie.gif), 1 hidden file "
            "(ann/.DS_Store), 2 links that lead "
            "nowhere (ann/2.jpg, ann/back), 1 folder without an image (empty)");
}

TEST_F(FaceStream, AFolderThatIsGoneSinceIsToldByItsName) {
  write_text(folder_ / "photos/ann/1.jpg", "a");
  const auto source = open_faces(folder_ / "photos");
  fs::remove_all(folder_ / "photos/ann");
  EXPECT_THAT([&] { all_of(*source); },
              ThrowsMessage<IoError>(HasSubstr("photos/ann: cannot list: No such file")));
}

TEST_F(FaceStream, SaysWhereItIsNotClearWhoIsAPerson) {
  write_text(folder_ / "photos/ann/1.jpg", "a");
  write_text(folder_ / "photos/ann/old/2.jpg", "a");
  EXPECT_THAT(
      [&] { open_faces(folder_ / "photos"); },
      ThrowsMessage<Error>(HasSubstr("ann holds images, and so does ann/old: which of them")));
  EXPECT_THAT([&] { open_faces(folder_ / "photos/ann/old"); },
              ThrowsMessage<Error>(HasSubstr("1 image in the folder itself")));
  fs::create_directories(folder_ / "none/in/it");
  EXPECT_THAT(
      [&] { open_faces(folder_ / "none"); },
      ThrowsMessage<Error>(HasSubstr("no image found, in it and all folders below; want JPEG, PNG, "
                                     "WebP or BMP; passed over: 2 folders without an image")));
}

TEST_F(FaceStream, SaysWhichLineOfAListIsWrong) {
  for (const char* line : {"1\t-2\tb.jpg", "1\t2.5\tb.jpg", "1\tb.jpg", "1\t2\t", "1\tnan\tb.jpg",
                           "1\t4294967296\tb.jpg", "1 2 b.jpg"}) {
    write_text(folder_ / "train.lst", std::string("0\t1\ta.jpg\n") + line + "\n");
    EXPECT_THAT([&] { open_faces(folder_ / "train.lst"); },
                ThrowsMessage<DataError>(HasSubstr("train.lst: line 2: found \"")))
        << line;
  }
  write_text(folder_ / "train.lst", "\n");
  EXPECT_THAT([&] { open_faces(folder_ / "train.lst"); },
              ThrowsMessage<DataError>(HasSubstr("no lines")));
}

TEST_F(FaceStream, KeepsWhatAnInterruptedRunHasWritten) {
  const auto faces = some_faces();
  {
    const auto sink = make_folder_sink(folder_ / "out");
    put(*sink, {faces.begin(), faces.begin() + 20});
  }
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const fs::path kept = folder_ / "out.partial/id_0/0_1.jpg";
  const auto time = fs::last_write_time(kept) - std::chrono::hours(1);
  fs::last_write_time(kept, time);
  write_text(folder_ / "out.partial/id_0/0_2.jpg", "0");  // cut short
  const auto sink = make_folder_sink(folder_ / "out");
  put(*sink, faces);
  sink->commit();
  EXPECT_EQ(all_in(folder_ / "out"), faces);
  EXPECT_EQ(fs::last_write_time(folder_ / "out/id_0/0_1.jpg"), time);
  EXPECT_EQ(entries(), 1u);
  EXPECT_THAT([&] { make_folder_sink(folder_ / "out"); },
              ThrowsMessage<Error>(HasSubstr("out is there already")));
}

TEST_F(FaceStream, LeavesNothingUnderAFinalNameOnAFullDisk) {
  const rlimit none{.rlim_cur = 600, .rlim_max = RLIM_INFINITY};
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const std::vector<OwnedFace> faces(4, {0, std::string(400, 'x')});
  for (const char* format : {"rec", "tar", "lst"}) {
    const fs::path out = folder_ / format;
    EXPECT_THAT(
        [&] {
          const auto sink = format == std::string("rec")   ? make_rec_sink(out)
                            : format == std::string("tar") ? make_tar_sink(out, 1 << 20)
                                                           : make_folder_sink(out, true);
          ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
          put(*sink, faces);
          put(*sink, {{0, std::string(700, 'x')}});
          sink->commit();
        },
        ThrowsMessage<Error>(testing::AnyOf(HasSubstr("cannot write"), HasSubstr("write: "))))
        << format;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_FALSE(fs::exists(out)) << format;
  }
  std::signal(SIGXFSZ, handler);
}

TEST_F(FaceStream, RefusesImagesOfDifferentSizesAndCountsThoseWithoutOne) {
  int unreadable = 0;
  const auto sink = make_rec_sink(folder_ / "train.rec", [&](const Face& face) {
    ++unreadable;
    EXPECT_EQ(face.name, "1");
  });
  put(*sink, {{0, picture(96, false)}, {0, "no image"}, {1, picture(96, true)}});
  const auto other = bytes_of(picture(112, false));
  EXPECT_THAT(
      [&] {
        sink->add({1, "last.jpg", other});
      },
      ThrowsMessage<Error>(HasSubstr("image last.jpg is 112 x 112 pixels and 0 is 96 x 96")));
  EXPECT_EQ(unreadable, 1);
  sink->commit();
  EXPECT_EQ(read_file(folder_ / "property"), "2,96,96\n");
}

TEST_F(FaceStream, SaysWhatIsNotThere) {
  EXPECT_THAT([&] { open_faces(folder_ / "none"); },
              ThrowsMessage<Error>(HasSubstr("none: not found, want a .rec, a .lst, a .tar")));
  write_text(folder_ / "faces.zip", "PK");
  EXPECT_THAT([&] { open_faces(folder_ / "faces.zip"); },
              ThrowsMessage<Error>(HasSubstr(", want a .rec, a .tar, a .lst or another list")));
  EXPECT_THAT([&] { open_faces(folder_.path()); },
              ThrowsMessage<Error>(HasSubstr("no image found, in it and all folders below")));
}

TEST_F(FaceStream, OfRealFacesPacksRecordsWithTheSamePayloads) {
  if (std::getenv("PFC_FACES") == nullptr)
    GTEST_SKIP() << "PFC_FACES does not name the folder of real faces";
  const fs::path faces(std::getenv("PFC_FACES"));
  for (const char* file : {"train.rec", "train.idx"})
    fs::create_symlink(faces / file, folder_ / file);
  copy(*open_faces(folder_ / "train.rec"), *make_folder_sink(folder_ / "photos"));
  copy(*open_faces(folder_ / "photos"), *make_rec_sink(folder_ / "back.rec"));

  const RecordFile before(folder_ / "train.rec"), after(folder_ / "back.rec");
  const RecordIndex a = before.index(), b = after.index();
  ASSERT_EQ(a.size(), 24'792u);
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(a.identities, b.identities);
  EXPECT_EQ(a.declared_identities, b.declared_identities);
  std::vector<std::byte> one, other;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const Record x = before.reader().record_at(a.offsets[i], one);
    const Record y = after.reader().record_at(b.offsets[i], other);
    ASSERT_TRUE(std::ranges::equal(x.payload, y.payload)) << i;
  }
}

}  // namespace
}  // namespace pfc
