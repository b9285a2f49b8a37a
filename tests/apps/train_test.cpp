// `pfc train` together with `pfc data`, from a shell.
#include "apps/pfc.h"

namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A set of 10 identities in which 0 and 7 have one image and the others three, and a run that
/// leaves these two out. So the classes of its centres are not the identities of the set.
class PfcTrain : public Pfc {
 protected:
  void SetUp() override {
    ASSERT_EQ(run("data synth faces --identities 10 --images 3 --unseen 4 --pairs 20").status, 0);
    ASSERT_EQ(run("data unpack faces -o photos").status, 0);
    for (const char* image : {"id_0/0_1.jpg", "id_0/0_2.jpg", "id_7/7_22.jpg", "id_7/7_23.jpg"})
      ASSERT_TRUE(fs::remove(folder_ / "photos" / image)) << image;
    write("run.toml",
          "model = { network = 'tiny', embedding_size = 16 }\n"
          "train = { batch_size = 6, steps = 2, threads = 1 }\n"
          "data.min_images = 2\n");
    write(
        "equal.py",
        "import sys\n"
        "from safetensors.numpy import load_file\n"
        "centers = [load_file(run + '/checkpoints/' + step + '/centers-00001-of-00001.safetensors')"
        "['centers'] for run, step in ((sys.argv[1], 'step-000000002'), "
        "(sys.argv[2], 'step-000000001'))]\n"
        "for pair in sys.argv[3:]:\n"
        "  here, there = map(int, pair.split('='))\n"
        "  if (centers[1][here] != centers[0][there]).any(): sys.exit('class ' + pair)\n");
  }
  /// A run of no steps: it ends with the centres that it begins with, which come from the run in
  /// `from`.
  Outcome start_from(const std::string& from, const std::string& class_map,
                     const std::string& arguments) const {
    return run(
        "train run.toml --set train.steps=1 --set schedule.lr=0 "
        "--set optimizer.weight_decay=0 --set init.from=" +
        from + "/checkpoints/step-000000002 --set init.class_map=" + class_map + " " + arguments);
  }
  /// `classes`: pairs "here=there".
  void expect_centers(const std::string& here, const std::string& there,
                      const std::string& classes) const {
    const std::string command = "cd '" + folder_.path().string() +
                                "' && '" PFC_PYTHON "' equal.py " + there + " " + here + " " +
                                classes + " 2>err.txt";
    EXPECT_EQ(std::system(command.c_str()), 0) << read("err.txt");
  }
};

TEST_F(PfcTrain, PutsEveryCentreAtItsOwnPerson) {
  ASSERT_EQ(run("data pack photos -o uneven.rec").status, 0);
  ASSERT_EQ(run("train run.toml --set output=run --set data.train=uneven.rec").status, 0);

  ASSERT_EQ(run("data filter uneven.rec -o filtered --min-images 2").status, 0);
  EXPECT_THAT(
      start_from("run", "filtered/class_map.csv", "--set output=mapped --set data.train=filtered")
          .err,
      HasSubstr("class centres: 8 taken from"));
  expect_centers("mapped", "run", "0=0 1=1 2=2 3=3 4=4 5=5 6=6 7=7");

  // All ten identities: classes 0 and 7 are new, and the classes after them have moved.
  EXPECT_THAT(start_from("run", "same",
                         "--set output=all --set data.train=uneven.rec --set data.min_images=1")
                  .err,
              AllOf(HasSubstr("class centres: 8 taken from"), HasSubstr("2 drawn")));
  expect_centers("all", "run", "1=0 2=1 3=2 4=3 5=4 6=5 8=6 9=7");

  // The folders' numbers, in the order of the folders' names: 1 2 3 4 5 6 8 9.
  EXPECT_THAT(start_from("run", "same", "--set output=folder --set data.train=photos").err,
              HasSubstr("class centres: 8 taken from"));
  expect_centers("folder", "run", "0=0 1=1 2=2 3=3 4=4 5=5 6=6 7=7");
}

TEST_F(PfcTrain, FindsCentresByTheNamesOfFolders) {
  const char* const names[] = {"Zoe", "Ann", "Bo, the second", "Cy", "Di"};
  for (int i = 0; i < 10; ++i) {
    const fs::path folder = folder_ / "photos" / ("id_" + std::to_string(i));
    if (i < 5)
      fs::rename(folder, folder_ / "photos" / names[i]);
    else
      fs::remove_all(folder);
  }
  ASSERT_EQ(run("train run.toml --set output=run --set data.train=photos").status, 0);

  ASSERT_EQ(run("data filter photos -o filtered").status, 0);
  EXPECT_THAT(read("filtered/class_map.csv"),
              HasSubstr("\n0,Ann\n1,Bo, the second\n2,Cy\n3,Di\n4,Zoe\n"));
  EXPECT_THAT(start_from("run", "filtered/class_map.csv",
                         "--set output=mapped --set data.train=filtered --set data.min_images=1")
                  .err,
              AllOf(HasSubstr("class centres: 4 taken from"), HasSubstr("1 drawn"),
                    HasSubstr("1 line of an identity that one of the two sets left out")));
  expect_centers("mapped", "run", "0=0 1=1 2=2 3=3");

  EXPECT_THAT(start_from("run", "same", "--set output=refused --set data.train=filtered").err,
              HasSubstr("pfc: this set calls its identities by numbers, the other one by the names "
                        "of folders: set init.class_map to a file"));
  fs::remove_all(folder_ / "photos" / "Ann");  // every class moves down by one
  EXPECT_THAT(start_from("run", "same", "--set output=fewer --set data.train=photos").err,
              HasSubstr("class centres: 3 taken from"));
  expect_centers("fewer", "run", "0=1 1=2 2=3");
}

}  // namespace
