// `pfc data` used from a shell.
#include <algorithm>

#include "apps/pfc.h"

namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class PfcData : public Pfc {
 protected:
  void SetUp() override {
    ASSERT_EQ(run("data synth faces --identities 30 --images 4 --unseen 4 --pairs 20").status, 0);
  }
  /// Runs a command that must succeed; returns what it prints.
  std::string said(const std::string& arguments) const {
    const Outcome outcome = run("data " + arguments);
    EXPECT_EQ(outcome.status, 0) << arguments << "\n" << outcome.err;
    return outcome.out;
  }
  /// A failed command leaves nothing of this name.
  void expect_nothing(const std::string& name) const {
    EXPECT_FALSE(std::filesystem::exists(folder_ / name)) << name;
    EXPECT_FALSE(std::filesystem::exists(folder_ / (name + ".partial"))) << name;
  }
};

TEST_F(PfcData, UnpacksAndPacksWithoutChangingAByte) {
  EXPECT_EQ(said("unpack faces -o photos"), "photos: 120 images of 30 identities\n");
  EXPECT_EQ(said("pack photos -o packed"), "packed/train.rec: 120 images of 30 identities\n");
  EXPECT_EQ(read("packed/train.rec"), read("faces/train.rec"));
  said("unpack faces/train.rec -o shards --format tar");
  said("pack shards/shard-000000.tar -o fromtar.rec");
  EXPECT_EQ(read("fromtar.rec"), read("faces/train.rec"));
  said("unpack faces -o listed --format lst");
  said("pack listed/train.lst -o fromlst.rec");
  EXPECT_EQ(read("fromlst.idx"), read("faces/train.idx"));
  write("pairs.txt", "id_0/0_0.jpg id_0/0_1.jpg 1\nid_0/0_0.jpg id_1/1_4.jpg 0\n");
  EXPECT_EQ(said("pack pairs.txt --root photos -o pairs.bin"), "pairs.bin: 2 pairs\n");
  EXPECT_THAT(run("inspect pairs.bin").out, HasSubstr("2 pairs, 1 of one person, 1 of two"));
}

TEST_F(PfcData, ResizesSetsAndPairs) {
  EXPECT_EQ(said("resize faces -o small --size 56"), "small/train.rec: 120 images, 56 x 56\n");
  EXPECT_THAT(said("info small"), HasSubstr("56 x 56"));
  EXPECT_EQ(said("resize faces/unseen.bin -o low.bin --size 28 --back --png"),
            "low.bin: 20 pairs, 28 x 28 and back\n");
  EXPECT_THAT(run("inspect low.bin").out, HasSubstr("20 pairs"));
  said("unpack faces -o photos");
  write("photos/id_0/0_0.jpg", "no image");
  EXPECT_THAT(said("resize photos -o whole"),
              AllOf(HasSubstr("119 images, 112 x 112\n1 image left out, "), HasSubstr("0_0.jpg")));
  expect_failure(run("data resize faces/unseen.bin -o low"), 2, "ends in .bin");
  expect_failure(run("data resize faces -o small"), 1, "is there already");
}

TEST_F(PfcData, WhatIsPassedOverIsToldOnce) {
  said("unpack faces -o photos");
  write("photos/.hidden", "");
  for (const char* command : {"merge photos -o merged", "filter photos -o kept --max-images 3",
                              "split photos -o parts --identities 6 --pairs 20"}) {
    const std::string err = run("data " + std::string(command)).err;
    const std::size_t first = err.find("1 hidden file (.hidden)");
    EXPECT_NE(first, err.npos) << command;
    EXPECT_EQ(err.find("hidden file", first + 20), err.npos) << command << "\n" << err;
  }
}

TEST_F(PfcData, KeepsCountsExactWhateverIsDone) {
  EXPECT_THAT(said("info faces --sheet sheet.png"), HasSubstr("120 images of 30 identities\n"));
  EXPECT_THAT(read("sheet.png"), StartsWith("\x89PNG"));
  EXPECT_THAT(said("info faces --json"), HasSubstr("\"images\": 120"));
  EXPECT_EQ(said("verify faces"), "faces: all of 120 images decode\n");
  write("drop.txt", "1\n2\n");
  write("identities.txt", "29\n");
  EXPECT_EQ(said("filter faces -o some --drop-images drop.txt --drop-identities identities.txt "
                 "--min-images 3 --max-images 3"),
            "some/train.rec: 84 images of 28 identities\n");
  EXPECT_THAT(read("some/class_map.csv"),
              EndsWith("\n0,1\n1,2\n" +
                       read("some/class_map.csv").substr(read("some/class_map.csv").find("2,3"))));
  expect_failure(run("data filter faces -o some/other.rec"), 1,
                 "some/class_map.csv is there already");
  write("same.csv", "1,0,2,5\n");
  EXPECT_EQ(said("merge faces some -o both --same same.csv"),
            "both/train.rec: 204 images of 57 identities\n");
  EXPECT_THAT(said("split faces -o split --identities 6 --pairs 20"),
              HasSubstr("split/held_out/train.rec: 24 images of 6 identities\n"));
  EXPECT_THAT(run("inspect split").out, HasSubstr("96 images of 24 identities"));
  EXPECT_THAT(run("inspect split/held_out.bin").out, HasSubstr("20 pairs, 10 of one person"));
  EXPECT_THAT(said("shuffle faces -o mixed"), HasSubstr("mixed/train.rec: 151 records in random"));
  said("unpack mixed -o again");
  said("pack again -o back");
  EXPECT_EQ(read("back/train.rec"), read("faces/train.rec"));
}

TEST_F(PfcData, CleansWithANetwork) {
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
        "train = { batch_size = 30, steps = 2, threads = 1 }\n");
  ASSERT_EQ(run("train run.toml").status, 0);
  const std::string out = said("clean run/last.safetensors faces -o lists");
  EXPECT_THAT(out, HasSubstr("faces: 120 images of 30 identities\n"));
  EXPECT_THAT(out, HasSubstr("pfc data filter faces --drop-images lists/drop_images.txt"));
  EXPECT_THAT(read("lists/far.txt"), StartsWith("# image, its identity"));
  EXPECT_EQ(run("data filter faces --drop-images lists/drop_images.txt --same lists/same.csv -o "
                "cleaned")
                .err.find("entries of the lists"),
            std::string::npos);
}

TEST_F(PfcData, ShowsWhatTrainingWillSee) {
  write("plain.toml", "data.mirror = false\n");
  write("grey.toml", "[data]\naugment = 'grey'\nmirror = false\n[augment.grey]\nprobability = 1\n");
  said("info faces --sheet as_is.png");
  EXPECT_THAT(said("info faces --sheet plain.png --augment plain.toml"),
              EndsWith("\nplain.png: as training sees them (nothing changes them)\n"));
  EXPECT_EQ(read("plain.png"), read("as_is.png"));
  EXPECT_THAT(said("info faces --sheet grey.png --augment grey.toml"),
              EndsWith("\ngrey.png: as training sees them (grey 1)\n"));
  EXPECT_NE(read("grey.png"), read("as_is.png"));
  expect_failure(run("data info faces --augment grey.toml"), 2, "--sheet");
  expect_failure(run("data info faces --sheet x.png --augment none.toml"), 1, "none.toml");
  expect_nothing("x.png");
}

TEST_F(PfcData, AlignsPhotosByTheirLandmarks) {
  said("unpack faces -o photos");
  std::string landmarks;
  for (int i = 0; i < 12; ++i) {
    const std::string name = "id_" + std::to_string(i / 4) + "/" + std::to_string(i / 4) + "_" +
                             std::to_string(i) + ".jpg";
    landmarks += name + " 38.2946 51.6963 73.5318 51.5014 56.0252 71.7366 41.5493 92.3655 " +
                 (i == 3 ? "nan nan" : "70.7299 92.2041") + "\n";
  }
  write("landmarks.txt", landmarks);
  EXPECT_EQ(
      said("align photos --landmarks landmarks.txt -o aligned --png"),
      "aligned: 11 faces\n109 pictures were not aligned: aligned/not_aligned.txt says why, the "
      "first: id_0/0_3.jpg: landmark (nan, nan) is not finite\n");
  EXPECT_THAT(read("aligned/not_aligned.txt"), HasSubstr("id_0/0_3.jpg\tlandmark (nan, nan)"));
  EXPECT_THAT(read("aligned/not_aligned.txt"), HasSubstr("\tno landmarks\n"));
  said("align photos --landmarks landmarks.txt -o large --size 160");
  EXPECT_THAT(said("info large"), HasSubstr("11 JPEG 160 x 160\n"));
  expect_failure(run("data align photos -o other"), 2, "want --landmarks FILE");
  expect_failure(run("data align photos --detector none.onnx -o other"), 1,
                 "none.onnx: cannot open: No such file");
}

TEST_F(PfcData, AlignSaysAtTheStartWhatItCanKnow) {
  said("unpack faces -o photos");
  const std::string points = " 38 52 74 52 56 72 42 92 71 92\n";
  write("labels.txt",
        "id_0/0_0.jpg 0" + points + "id_0/0_1.jpg 1" + points + "id_9/9.jpg 9" + points);
  const Outcome aligned = run("data align photos --landmarks labels.txt -o aligned");
  EXPECT_EQ(aligned.status, 0);
  EXPECT_THAT(aligned.err,
              StartsWith("labels.txt: read as \"NAME, 1 other, X1 Y1 … X5 Y5\"; names 2 of 120 "
                         "pictures, and not id_0/0_2.jpg; of its pictures 1 is not there\n"));
  expect_failure(run("data align photos --landmarks labels.txt -o aligned"), 1,
                 "aligned is there already");
  expect_failure(run("data align photos --landmarks labels.txt -o photos/aligned"), 1,
                 "photos/aligned lies in photos");
  write("deeper.txt", "photos/id_0/0_0.jpg" + points);
  expect_failure(run("data align photos --landmarks deeper.txt -o other"), 1,
                 "deeper.txt: names none of 120 pictures; it has names like photos/id_0/0_0.jpg, "
                 "and the pictures have names like id_0/0_0.jpg");
  write("wrong.txt", "id_0/0_0.jpg 71 92 38 52 42 92 74 52 56 72\n");
  expect_failure(run("data align photos --landmarks wrong.txt -o other"), 1,
                 "wrong.txt: line 1: found \"id_0/0_0.jpg 71 92");
  expect_failure(run("data align photos --landmarks labels.txt --det-size 320 -o other"), 2,
                 "--det-size needs --detector");
  expect_failure(run("data align photos --detector labels.txt --det-size 320x -o other"), 2,
                 "--det-size 320x: want a side");
  expect_failure(run("data align photos --detector labels.txt -o other"), 1,
                 "labels.txt: offset 0: found a text that begins");
}

TEST_F(PfcData, SaysInOneSentenceWhatIsWrongAndLeavesNothing) {
  expect_failure(run("data unpack none -o out"), 1, "none: not found, want a .rec, a .lst, a .tar");
  expect_failure(run("data pack faces -o faces"), 1, "faces/train.rec is there already");
  expect_failure(run("data filter faces -o out --min-images 5"), 1, "no identity is left");
  expect_failure(run("data split faces -o out --identities 30"), 1, "cannot hold out 30");
  expect_failure(run("data merge faces none -o out"), 1, "none: not found");
  expect_failure(run("data check ."), 1, "no parts of a known set");
  write("glint360k00", "not all of it");
  const Outcome checked = run("data check .");
  EXPECT_EQ(checked.status, 1);
  EXPECT_THAT(checked.out, HasSubstr("BAD: md5 "));
  EXPECT_THAT(checked.err, HasSubstr("pfc: .: 7 of 7 parts are missing or bad"));
  expect_failure(run("data assemble . -o out"), 1, "glint360k01: not found, a part of Glint360K");

  // A .rec that is cut, an .idx of another file, a label that cannot be.
  const std::string rec = read("faces/train.rec"), idx = read("faces/train.idx");
  write("cut/train.rec", rec.substr(0, rec.size() / 2));
  expect_failure(run("data unpack cut -o out"), 1, "goes beyond the end of the file");
  write("wrong/train.rec", rec);
  write("wrong/train.idx", "1\t0\n2\t44\n");
  expect_failure(run("data unpack wrong -o out"), 1, "train.idx: key 2");
  std::string label = rec;
  label[15] = '\x7f';  // of the first record: infinity or not a number
  write("label/train.rec", label);
  expect_failure(run("data unpack label -o out"), 1, "offset 0: label ");
  expect_nothing("out");

  // A picture that does not decode is listed.
  said("unpack faces -o photos");
  write("photos/id_3/3_12.jpg", "no picture");
  EXPECT_THAT(said("pack photos -o packed"), HasSubstr("1 of them does not decode"));
  const Outcome verified = run("data verify packed --list broken.txt");
  EXPECT_EQ(verified.status, 1);
  EXPECT_THAT(verified.err, HasSubstr("pfc: packed: 1 of 120 images does not decode"));
  EXPECT_EQ(read("broken.txt"),
            "13\t3\tno image that is read, found a text that begins \"no picture\", want JPEG, "
            "PNG, WebP or BMP\n");
  EXPECT_EQ(said("filter packed -o mended --drop-images broken.txt"),
            "mended/train.rec: 119 images of 30 identities\n");
}

}  // namespace
