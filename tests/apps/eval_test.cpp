#include "pfc.h"

#include <algorithm>

namespace {

using testing::HasSubstr;
using testing::StartsWith;

class PfcEval : public Pfc {
 protected:
  /// A float32 matrix as NumPy saves it.
  void write_npy(const std::string& name, const std::vector<std::vector<float>>& rows) const {
    const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                               std::to_string(rows.size()) + ", " +
                               std::to_string(rows.front().size()) + "), }";
    std::string file = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size());
    file += '\0' + header;
    for (const auto& row : rows)
      file.append(reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float));
    write(name, file);
  }
  void said(const std::string& arguments) const {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 0) << arguments << "\n" << outcome.err;
  }
};

TEST_F(PfcEval, IfrtPrintsATableAndWritesThePage) {
  write_npy("a.npy", {{1, 0}, {1, 0.1f}, {0, 1}, {0.1f, 1}, {1, 1}});
  write("a.txt", "A/1/x.jpg\nA/1/y.jpg\nA/2/x.jpg\nA/2/y.jpg\nB/3/x.jpg\n");
  const Outcome outcome = run("eval mfr a.npy --far 0.1 0.5 --report a.html --json a.json");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("All against all\ngroup"));
  EXPECT_THAT(outcome.out, HasSubstr("1 identity with one image"));
  EXPECT_THAT(read("a.html"), StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(read("a.json"), HasSubstr("\"group\": \"ALL\""));
}

TEST_F(PfcEval, OfDrawnFacesByATrainedNetworkShowsTheHardestPairs) {
  said("data synth faces --identities 8 --images 4 --pairs 20");
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
        "train.batch_size = 8\ntrain.steps = 2\n");
  said("train run.toml");
  said("data unpack faces -o photos/all");
  said("eval ifrt photos --model run/last.safetensors --report faces.html");
  const std::string page = read("faces.html");
  EXPECT_THAT(page, HasSubstr("One person, lowest scores"));
  EXPECT_THAT(page, HasSubstr("data:image/jpeg;base64,"));
  EXPECT_THAT(page, HasSubstr("all/id_"));
  said("eval verification run/last.safetensors faces/unseen.bin --report pairs.html");
  EXPECT_THAT(read("pairs.html"), HasSubstr("Two people, highest scores, unseen"));
  EXPECT_THAT(read("pairs.html"), HasSubstr("data:image/jpeg;base64,"));
  EXPECT_THAT(read("pairs.html"), testing::Not(HasSubstr("Error versus reject")));
  const Outcome rejected =
      run("eval verification run/last.safetensors faces/unseen.bin --reject 0.5 --report less.html "
          "--json less.json");
  EXPECT_EQ(rejected.status, 0) << rejected.err;
  EXPECT_THAT(rejected.out, HasSubstr("Errors by the share of images rejected"));
  EXPECT_THAT(read("less.html"), HasSubstr("Error versus reject"));
  EXPECT_THAT(read("less.json"), HasSubstr("\"images_rejected\": 0.5"));

  // The same images as IJB's and as MegaFace's files.
  std::string points, owners;
  for (const char* name : {"id_0/0_0.jpg", "id_0/0_1.jpg", "id_1/1_4.jpg", "id_1/1_5.jpg"}) {
    points += std::string(name) + " 38.3 51.7 73.5 51.5 56 71.7 41.5 92.4 70.7 92.2 0.99\n";
    owners += std::string(name) + (points.size() < 200 ? " 1 1\n" : " 2 1\n");
  }
  write("IJBC/meta/ijbc_name_5pts_score.txt", points);
  write("IJBC/meta/ijbc_face_tid_mid.txt", owners);
  write("IJBC/meta/ijbc_template_pair_label.txt", "1 2 0\n1 1 1\n");
  std::filesystem::create_directory_symlink(folder_ / "photos/all", folder_ / "IJBC/loose_crop");
  const Outcome ijb = run("eval ijb IJBC --model run/last.safetensors --report ijb.html");
  EXPECT_EQ(ijb.status, 0) << ijb.err;
  EXPECT_THAT(ijb.out, HasSubstr("1:1, TAR % at a FAR of"));
  EXPECT_THAT(read("ijb.html"), HasSubstr("templates 1 and 2"));

  write("mf/facescrub_lst", "id_0/0_0.jpg\nid_0/0_1.jpg\nid_1/1_4.jpg\nid_1/1_5.jpg\n");
  write("mf/megaface_lst", "all/id_2/2_8.jpg\nall/id_2/2_9.jpg\nall/id_3/3_12.jpg\n");
  write("mf/megaface_noises.txt", "# rules\nall/id_2/2_9.jpg\n");
  std::filesystem::create_directory_symlink(folder_ / "photos/all",
                                            folder_ / "mf/facescrub_images");
  std::filesystem::create_directory_symlink(folder_ / "photos", folder_ / "mf/megaface_images");
  said(
      "eval megaface mf --model run/last.safetensors --json one.json --write-features bins "
      "--report mf.html");
  said("eval megaface mf --features bins --json two.json");
  EXPECT_THAT(read("one.json"), HasSubstr("\"distractors\": 3"));
  EXPECT_THAT(read("mf.html"), HasSubstr("A probe and a distractor, highest scores"));
  const auto figures = [&](const std::string& name) {
    const std::string json = read(name);
    return json.substr(json.find("\"tables\""));
  };
  EXPECT_EQ(figures("one.json"), figures("two.json"));
}

TEST_F(PfcEval, WhatIsWrongWithImagesAndListsIsToldBeforeAnyIsEmbedded) {
  said("data synth faces --identities 2 --images 3 --unseen 2 --pairs 20");
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
        "train.batch_size = 2\ntrain.steps = 1\n");
  said("train run.toml");
  said("data unpack faces -o photos");
  const std::string model = " --model run/last.safetensors";
  const auto fails = [&](const std::string& arguments, const std::string& sentence) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
    EXPECT_THAT(outcome.err, testing::Not(HasSubstr("embedding:")));
  };

  fails("eval ifrt photos/id_0" + model, "0_0.jpg: found the name");
  fails("eval ifrt photos --between id_0 id_1" + model, "no group id_0 among the names");

  std::string points, owners;
  for (const char* name : {"id_0/0_0.jpg", "id_0/0_1.jpg", "id_1/1_3.jpg", "none.jpg"}) {
    points += std::string(name) + " 38.3 51.7 73.5 51.5 56 71.7 41.5 92.4 70.7 92.2 0.99\n";
    owners += std::string(name) + (points.size() < 200 ? " 1 1\n" : " 2 1\n");
  }
  write("IJBC/meta/ijbc_name_5pts_score.txt", points);
  write("IJBC/meta/ijbc_face_tid_mid.txt", owners);
  write("IJBC/meta/ijbc_template_pair_label.txt", "1 2 0\n1 1 1\n");
  fails("eval ijb IJBC" + model, "IJBC/loose_crop: not found");
  std::filesystem::create_directory_symlink(folder_ / "photos", folder_ / "IJBC/loose_crop");
  write("photos/id_0/0_1.jpg", read("photos/id_0/0_1.jpg").substr(0, 1000));
  fails("eval ijb IJBC" + model, "id_0/0_1.jpg: ");
  fails("eval ijb IJBC" + model, "none.jpg: ");
  fails("eval ijb IJBC" + model, "pfc: 2 of 4 images cannot be used");

  write("mf/facescrub_lst", "id_0/0_0.jpg\nid_0/0_2.jpg\n");
  write("mf/megaface_lst", "all/id_1/1_3.jpg\n");
  std::filesystem::create_directory_symlink(folder_ / "photos", folder_ / "mf/facescrub_images");
  fails("eval megaface mf" + model, "mf/megaface_images: not found");
  std::filesystem::create_directory(folder_ / "mf/megaface_images");
  write("mf/facescrub_noises.txt", "0_0.jpg\n0_2.jpg\n");
  fails("eval megaface mf" + model, "no clean image of id_0");

  std::string set = read("faces/unseen.bin");
  set.replace(set.rfind("\xff\xd8\xff"), 3, "xxx");  // where the last image begins
  write("broken.bin", set);
  fails("eval verification run/last.safetensors faces/unseen.bin broken.bin",
        "broken: 1 of 40 images cannot be used");
}

TEST_F(PfcEval, OfManyImagesThatCannotBeEmbeddedTheFirstAreNamedAndAllAreListed) {
  said("data synth faces --identities 2 --images 1 --unseen 2 --pairs 20");
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
        "train.batch_size = 2\ntrain.steps = 1\n");
  said("train run.toml");
  said("data unpack faces -o photos");
  for (int i = 0; i < 120; ++i) write("photos/bad/" + std::to_string(i) + ".jpg", "<html>");
  const Outcome outcome = run("embed run/last.safetensors photos -o rows.npy");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_LT(std::ranges::count(outcome.err, '\n'), 80);
  EXPECT_THAT(outcome.out, HasSubstr("120 images left out, rows.left_out.txt says why"));
  EXPECT_EQ(std::ranges::count(read("rows.left_out.txt"), '\n'), 120);
  EXPECT_THAT(read("rows.left_out.txt"), StartsWith("bad/0.jpg\t"));
  said("embed run/last.safetensors faces -o rows.npy");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "rows.left_out.txt"));
}

TEST_F(PfcEval, SaysInOneSentenceWhatIsWrong) {
  expect_failure(run("eval ifrt a.npy"), 1, "a.npy: cannot open");
  write_npy("a.npy", {{1, 0}, {1, 0.1f}});
  write("a.txt", "A/1/x.jpg\n");
  expect_failure(run("eval ifrt a.npy"), 1, "a.npy: header: 2 rows, but a.txt has 1 line");
  write("a.txt", "A/1/x.jpg\nx.jpg\n");
  expect_failure(run("eval ifrt a.npy"), 1, "a.npy: row 1 (x.jpg): found the name");
  write("a.npy", "hello");
  write("a.txt", "1/a\n2/b\n");
  expect_failure(run("eval ifrt a.npy"), 1,
                 "a.npy: offset 0: found a text that begins \"hello\", want a NumPy array");
  expect_failure(run("eval ifrt photos"), 2, "images need a network");
  expect_failure(run("eval ijb IJBC"), 2, "give either --model or --features");
  expect_failure(run("eval ijb IJBC --features a.npy"), 1, "IJBC/meta: no ijbc_face_tid_mid.txt");
  expect_failure(run("eval megaface"), 2, "a list of the images is needed");
  expect_failure(run("eval megaface --probes a.npy"), 2, "--probes needs --distractors");
}

}  // namespace
