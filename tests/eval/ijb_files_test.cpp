#include "pfc/eval/ijb_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

const std::string kOwners = "1.jpg 5 69544\n2.jpg 5 69544\n3.jpg 7 1\n";
const std::string kLandmarks =
    "1.jpg 1 2 3 4 5 6 7 8 9 10 0.5\n"
    "2.jpg 1 2 3 4 5 6 7 8 9 10.25 1\n"
    "3.jpg 1 2 3 4 5 6 7 8 9 10 0.999\n";

auto bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

IjbImages images_of(const std::string& owners, const std::string& landmarks) {
  return parse_ijb_images(bytes(owners), "tid_mid.txt", bytes(landmarks), "5pts.txt");
}

TEST(IjbFiles, AreReadLineByLine) {
  const IjbImages images = images_of(kOwners, kLandmarks);
  EXPECT_THAT(images.names, ElementsAre("1.jpg", "2.jpg", "3.jpg"));
  EXPECT_THAT(images.templates, ElementsAre(5, 5, 7));
  EXPECT_THAT(images.media, ElementsAre(69544, 69544, 1));
  EXPECT_THAT(images.scores, ElementsAre(0.5f, 1, 0.999f));
  EXPECT_EQ(images.landmarks[1][4].y, 10.25);

  const IjbPairs pairs = parse_ijb_pairs(bytes("5 7 0\r\n5 5 1\n"), "pairs.txt");
  EXPECT_THAT(pairs.first, ElementsAre(5, 5));
  EXPECT_THAT(pairs.second, ElementsAre(7, 5));
  EXPECT_THAT(pairs.same, ElementsAre(0, 1));

  const IjbSubjects subjects =
      parse_ijb_subjects(bytes("TEMPLATE_ID,SUBJECT_ID,FILENAME\n5,3,a\n5,3,b\n7,1,c\n"), "G1.csv");
  EXPECT_THAT(subjects.templates, ElementsAre(5, 7));
  EXPECT_THAT(subjects.subjects, ElementsAre(3, 1));
}

TEST(IjbFiles, SayWhichLineIsWrong) {
  const auto fails = [](const auto& parse, const std::string& with) {
    EXPECT_THAT(parse, ThrowsMessage<DataError>(HasSubstr(with)));
  };
  fails([] { images_of("1.jpg 5\n", kLandmarks); },
        "tid_mid.txt: line 1: found \"1.jpg 5\", want \"NAME TEMPLATE MEDIUM\"");
  fails([] { images_of("1.jpg 5 1\n", kLandmarks); }, "tid_mid.txt: end: found 1 image");
  fails([] { images_of(kOwners + "4.jpg 1 1\n", kLandmarks); },
        "tid_mid.txt: line 4: found \"4.jpg 1 1\", want an end");
  fails([] { images_of("1.jpg 5 1\n9.jpg 5 1\n", kLandmarks); },
        "line 2: found \"9.jpg 5 1\", want \"2.jpg\" as in 5pts.txt");
  fails([] { images_of(kOwners, "1.jpg 1 2 3 4 5 6 7 8 9 x 0.5\n"); }, "5pts.txt: line 1");
  fails([] { images_of(kOwners, "1.jpg 1 2 3\n"); }, "5pts.txt: line 1");
  fails([] { images_of("", ""); }, "5pts.txt: whole file: no images");
  fails([] { images_of("1.jpg 99999999 1\n", kLandmarks); }, "tid_mid.txt: line 1");
  fails([] { parse_ijb_pairs(bytes("5 7 2\n"), "p"); }, "p: line 1: found \"5 7 2\"");
  fails([] { parse_ijb_pairs(bytes("5 7 0\n5 7\n"), "p"); }, "p: line 2");
  fails([] { parse_ijb_pairs({}, "p"); }, "p: whole file: no pairs");
  fails([] { parse_ijb_subjects(bytes("H\n5,a\n"), "g"); }, "g: line 2");
  fails([] { parse_ijb_subjects(bytes("H\n5,1\n5,2\n"), "g"); },
        "g: line 3: found \"5,2\", want subject 1 as above for template 5");
  fails([] { parse_ijb_subjects(bytes("H\n"), "g"); }, "g: whole file: no templates");
}

TEST(IjbFiles, OfAFolderMustKnowEveryTemplate) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { open_ijb(folder.path()); }, ThrowsMessage<Error>(HasSubstr("meta: no ijbc_")));
  std::filesystem::create_directories(folder / "meta");
  write_text(folder / "meta/ijbb_face_tid_mid.txt", kOwners);
  write_text(folder / "meta/ijbb_name_5pts_score.txt", kLandmarks);
  write_text(folder / "meta/ijbb_template_pair_label.txt", "5 7 0\n5 6 1\n");
  EXPECT_THAT([&] { open_ijb(folder.path()); },
              ThrowsMessage<DataError>(HasSubstr("pair 2: no image belongs to template 6")));
  write_text(folder / "meta/ijbb_template_pair_label.txt", "5 7 0\n5 5 1\n");
  EXPECT_EQ(open_ijb(folder.path()).name, "IJB-B");
  EXPECT_TRUE(open_ijb(folder.path()).galleries.empty());
  write_text(folder / "meta/ijbb_1N_probe_mixed.csv", "T,S\n5,1\n");
  write_text(folder / "meta/ijbb_1N_gallery_S1.csv", "T,S\n8,1\n");
  EXPECT_THAT([&] { open_ijb(folder.path()); },
              ThrowsMessage<DataError>(HasSubstr("S1.csv: template 8: no image")));
  write_text(folder / "meta/ijbb_1N_gallery_S1.csv", "T,S\n7,2\n");
  EXPECT_THAT([&] { open_ijb(folder.path()); },
              ThrowsMessage<DataError>(HasSubstr("S1.csv: whole file: no subject of it is that")));
  write_text(folder / "meta/ijbb_1N_gallery_S1.csv", "T,S\n7,2\n5,1\n");
  EXPECT_EQ(open_ijb(folder.path()).galleries.size(), 1u);
  write_text(folder / "meta/ijbb_template_pair_label.txt", "5 7 0\n5 7 0\n");
  EXPECT_THAT([&] { open_ijb(folder.path()); },
              ThrowsMessage<DataError>(HasSubstr("label.txt: pairs: all 2 are of two people")));
}

}  // namespace
}  // namespace pfc
