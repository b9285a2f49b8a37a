// `pfc` on an unusual system: closed descriptors, limits, devices and links as outputs, hostile
// names.

#include "apps/pfc.h"

namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

namespace fs = std::filesystem;

class PfcProcess : public Pfc {
 protected:
  void SetUp() override {
    ASSERT_EQ(run("data synth faces --identities 6 --images 3 --unseen 2 --pairs 20").status, 0);
  }
  /// Runs a line of shell in the test's folder, where $PFC is the program. Returns its exit status.
  int sh(const std::string& line) const {
    const std::string command =
        "cd '" + folder_.path().string() + "' && export PFC='" PFC_BINARY "' && " + line;
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// The names in a folder of the test's.
  std::string names(const std::string& folder) const {
    EXPECT_EQ(sh("ls -A '" + folder + "' | tr '\n' ' ' >names.txt"), 0);
    return read("names.txt");
  }
};

TEST_F(PfcProcess, WritesTheSameDataWithStandardDescriptorsClosed) {
  ASSERT_EQ(run("data shuffle faces -o want").status, 0);
  for (const std::string closed : {"2>&-", ">&-", "<&-", "<&- >&- 2>&-"}) {
    EXPECT_EQ(sh("rm -rf got; \"$PFC\" data shuffle faces -o got " + closed), 0) << closed;
    EXPECT_EQ(read("got/train.rec"), read("want/train.rec")) << closed;
  }
}

TEST_F(PfcProcess, AFileOverTheLimitOfItsSizeIsToldInASentence) {
  EXPECT_EQ(sh("ulimit -f 4; \"$PFC\" data merge faces faces -o both 2>err.txt"), 1);
  EXPECT_EQ(read("err.txt"), "pfc: both/train.rec: cannot write: File too large\n");
  EXPECT_EQ(names("both"), "");
}

TEST_F(PfcProcess, OutputsGoIntoWhatIsNoRegularFile) {
  EXPECT_EQ(run("data info faces --sheet /dev/null").status, 0);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  const Outcome printed = run("data info faces --sheet /dev/stdout");  // and nothing else
  EXPECT_THAT(printed.out, StartsWith("\x89PNG"));
  EXPECT_THAT(printed.err, AllOf(HasSubstr("18 images of 6 identities\n"),
                                 EndsWith("/dev/stdout: what they look like\n")));
  EXPECT_EQ(sh("\"$PFC\" data info faces --sheet /dev/fd/3 3>sheet.png >out.txt"), 0);
  EXPECT_THAT(read("sheet.png"), StartsWith("\x89PNG"));
  ASSERT_EQ(sh("mkfifo pipe"), 0);
  EXPECT_EQ(sh("(cat pipe >through.png &) ; \"$PFC\" data info faces --sheet pipe >out.txt"), 0);
  EXPECT_TRUE(fs::is_fifo(folder_ / "pipe"));
  EXPECT_EQ(sh("\"$PFC\" data info faces --sheet /dev/full >out.txt 2>err.txt"), 1);
  EXPECT_EQ(read("err.txt"), "pfc: /dev/full: cannot write: No space left on device\n");
}

TEST_F(PfcProcess, LinksStayAndTheirTargetsAreReplaced) {
  ASSERT_EQ(sh("mkdir far && ln -s far/made.png link && ln -s link chain"), 0);
  EXPECT_EQ(run("data info faces --sheet chain").status, 0);
  EXPECT_THAT(read("far/made.png"), StartsWith("\x89PNG"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "chain"));
}

TEST_F(PfcProcess, LookingAtASetLeavesItsFolderAsItIs) {
  const std::string before = names("faces");
  for (const char* command : {"inspect faces", "data info faces", "data verify faces/train.rec",
                              "data unpack faces -o photos", "data shuffle faces -o shuffled"})
    EXPECT_EQ(run(command).status, 0) << command;
  EXPECT_EQ(names("faces"), before);
  EXPECT_EQ(run("inspect faces --cache-dir cache").status, 0);
  EXPECT_THAT(names("cache"), HasSubstr(".pfcidx"));
}

TEST_F(PfcProcess, ATildeInAPathIsTheHomeFolder) {
  EXPECT_EQ(sh("mkdir home; HOME=$PWD/home \"$PFC\" data info faces '--sheet=~/a.png' >out.txt &&"
               " HOME=$PWD/home \"$PFC\" data info faces --sheet '~/b.png' >out.txt"),
            0);
  EXPECT_EQ(names("home"), "a.png b.png ");
  EXPECT_EQ(sh("HOME=$PWD/home \"$PFC\" data unpack faces '-o~/photos' >out.txt"), 0);
  EXPECT_TRUE(fs::exists(folder_ / "home/photos"));
  expect_failure(run("data unpack faces -o '~nobody/photos'"), 1,
                 "~nobody/photos: only ~/ is expanded");
  EXPECT_FALSE(fs::exists(folder_ / "~"));
  EXPECT_EQ(sh("env -u HOME \"$PFC\" data info '~/faces' 2>err.txt"), 1);
  EXPECT_THAT(read("err.txt"), HasSubstr("~/faces: HOME is not set"));
}

TEST_F(PfcProcess, NoNameIsObeyedByATerminal) {
  const std::string escape = "\033[31m";
  ASSERT_EQ(sh("\"$PFC\" data unpack faces -o photos >out.txt && echo bad >photos/id_0/'" + escape +
               "red\n.jpg'"),
            0);
  const Outcome verified = run("data verify photos");
  EXPECT_EQ(verified.status, 1);
  EXPECT_THAT(verified.out, AllOf(HasSubstr("id_0/\\x1b[31mred\\n.jpg"), Not(HasSubstr("\033"))));
  const Outcome missing = run("inspect '" + escape + "\nÅ.rec'");
  EXPECT_EQ(missing.err.find('\033'), std::string::npos);
  expect_failure(missing, 1, "?[31m?Å.rec");
}

TEST_F(PfcProcess, AnImageThatCannotBeReadStopsAndIsNotRemembered) {
  ASSERT_EQ(run("data unpack faces -o photos").status, 0);
  fs::create_symlink("/proc/self/mem", folder_ / "photos/id_0/9.jpg");  // reading it is EIO
  expect_failure(run("data verify photos"), 1, "9.jpg: cannot read: Input/output error");
  expect_failure(run("data pack photos -o packed"), 1, "9.jpg: cannot read: Input/output error");
  EXPECT_EQ(sh("ls -A | grep pfcbad"), 1);
}

TEST_F(PfcProcess, OneIsSingular) {
  EXPECT_EQ(run("data synth one --identities 1 --images 1 --unseen 2 --pairs 20").status, 0);
  EXPECT_THAT(run("data info one").out, StartsWith("1 image of 1 identity\n"));
  EXPECT_THAT(run("inspect one").out, HasSubstr(": 1 image of 1 identity\n"));
}

}  // namespace
