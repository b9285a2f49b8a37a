#include "pfc/data/distributed_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "data/md5.h"
#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/dataset.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string md5_of(const std::string& text) {
  Md5 md5;
  md5.add(std::as_bytes(std::span(text)));
  return md5.finish();
}

TEST(Md5, IsTheKnownSum) {
  EXPECT_EQ(md5_of(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5_of("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
}

TEST(DistributedSet, KnowsBothReleasesOfGlint360k) {
  const auto& sets = known_distributed_sets();
  ASSERT_EQ(sets.size(), 2u);
  EXPECT_EQ(sets[0].name, "glint360k");
  EXPECT_EQ(sets[1].name, "glint360k_2021");
  for (const DistributedSet& set : sets) {
    EXPECT_EQ(set.parts.size(), 7u);
    ASSERT_EQ(set.contents.size(), 2u);
    EXPECT_EQ(set.contents[0].name, "train.rec");
    for (const DistributedFile& part : set.parts)
      EXPECT_EQ(part.md5.size(), set.name == "glint360k" ? 32u : 0u);
  }
  EXPECT_EQ(sets[0].parts[6].md5, "dcc2f021aa2a9463ff1b2a8021ef87b6");
}

TEST(DistributedSet, IsRefusedByTheLine) {
  const auto fails_with = [](const std::string& text, const std::string& sentence) {
    EXPECT_THAT([&] { parse_distributed_set(text, "set.toml"); },
                ThrowsMessage<DataError>(HasSubstr(sentence)))
        << text;
  };
  const std::string head = "name = \"a\"\ntitle = \"A\"\n[[part]]\nname = \"a0\"\n";
  EXPECT_NO_THROW(parse_distributed_set(head, "set.toml"));
  fails_with("name = \"a\"\n", "want name, title and one [[part]]");
  fails_with("names = \"a\"\n", "line 1: unknown key \"names\"");
  fails_with("name = 3\n", "line 1: name, want a text");
  fails_with(head + "sum = \"x\"\n", "line 5: unknown key \"sum\", want name or md5");
  fails_with(head + "md5 = \"xyz\"\n", "line 5: \"xyz\", want 32 digits");
  fails_with(head + "[[part]]\nname = \"../b\"\n", "want a file's name without a folder");
  fails_with(head + "[[part]]\nname = \"a0\"\n", "a0: listed twice");
  fails_with(head + "[[part]]\n", "no name");
  fails_with("part = 3\n", "want tables");
  fails_with("name = \n", "line 1");
}

/// A small set, cut into three parts of a gzipped tar.
class Parts : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_ / "set");
    FaceRecordWriter writer(folder_ / "set/train.rec");
    for (int i = 0; i < 60; ++i) writer.add(i / 4, bytes_of("image " + std::to_string(i * i)));
    writer.commit();
    make_parts();
  }

  void make_parts() {
    fs::create_directories(folder_ / "parts");
    run("tar -czf all.tgz set && split -n 3 -d all.tgz parts/p");
    set_ = {.name = "made", .title = "A made set", .parts = {}, .contents = {}};
    for (const char* name : {"p00", "p01", "p02"})
      set_.parts.push_back({name, md5_of(read_file(folder_ / "parts" / name))});
    for (const char* name : {"train.rec", "train.idx"})
      set_.contents.push_back({name, md5_of(read_file(folder_ / "set" / name))});
  }
  void run(const std::string& command) const {
    ASSERT_EQ(std::system(("cd '" + folder_.path().string() + "' && " + command).c_str()), 0);
  }
  void put_together() const {
    assemble(set_, folder_ / "parts", folder_ / "out", [](auto, auto) {});
  }
  void expect_nothing_made(const std::string& sentence) const {
    EXPECT_THAT([&] { put_together(); }, ThrowsMessage<Error>(HasSubstr(sentence)));
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  }
  std::vector<CheckedPart> check() const {
    return check_parts(set_, folder_ / "parts", 2, [](auto, auto) {});
  }

  TemporaryFolder folder_;
  DistributedSet set_;
};

TEST_F(Parts, AreCheckedInATable) {
  set_.parts[1].md5 = std::string(32, '0');
  set_.parts.push_back({"p03", ""});
  set_.parts.push_back({"p04", ""});
  write_text(folder_ / "parts/p03", "no sum is known of it");
  const auto parts = check();
  EXPECT_EQ(parts[0].state, PartState::kGood);
  EXPECT_EQ(parts[1].state, PartState::kBad);
  EXPECT_EQ(parts[2].state, PartState::kGood);
  EXPECT_EQ(parts[3].state, PartState::kUnknownSum);
  EXPECT_EQ(parts[3].md5, md5_of("no sum is known of it"));
  EXPECT_EQ(parts[4].state, PartState::kMissing);
}

TEST_F(Parts, ThatWereCheckedBeforeAreReadAgainOnlyWhereTheyHaveChanged) {
  check();
  std::string kept = read_file(folder_ / "parts/checked.txt");
  kept.replace(kept.find(set_.parts[0].md5), 32, std::string(32, 'f'));  // shows that it is read
  write_file(folder_ / "parts/checked.txt", kept);
  EXPECT_EQ(check()[0].state, PartState::kBad);
  run("touch -d '2001-01-01' parts/p00");
  EXPECT_EQ(check()[0].state, PartState::kGood);
  write_text(folder_ / "parts/checked.txt", "\n\t\nsomething else\n \t \n");
  EXPECT_EQ(check()[1].state, PartState::kGood);
}

TEST_F(Parts, BecomeTheSetInOnePass) {
  put_together();
  EXPECT_EQ(open_dataset({.path = folder_ / "out/set"})->size(), 60);
  EXPECT_EQ(read_file(folder_ / "out/set/train.rec"), read_file(folder_ / "set/train.rec"));
  EXPECT_FALSE(fs::exists(folder_ / "out.partial"));
  EXPECT_THAT([&] { put_together(); }, ThrowsMessage<Error>(HasSubstr("out is there already")));
}

TEST_F(Parts, OfAPlainTarDo) {
  run("tar -cf all.tar set && rm parts/* && split -n 3 -d all.tar parts/p");
  for (DistributedFile& part : set_.parts)
    part.md5 = md5_of(read_file(folder_ / "parts" / part.name));
  put_together();
  EXPECT_EQ(open_dataset({.path = folder_ / "out/set"})->size(), 60);
}

TEST_F(Parts, AreRefusedWhereOneIsMissingBadOrCutShort) {
  const std::string middle = read_file(folder_ / "parts/p01");
  fs::remove(folder_ / "parts/p01");
  expect_nothing_made("p01: not found, a part of A made set");
  std::string altered = middle;
  altered[altered.size() / 2] ^= 1;
  write_file(folder_ / "parts/p01", altered);
  EXPECT_THROW(put_together(), Error);  // gzip or the sum finds it
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  write_file(folder_ / "parts/p01", middle);
  set_.parts[2].md5 = std::string(32, '0');
  expect_nothing_made("p02: md5 sum: found " + md5_of(read_file(folder_ / "parts/p02")) +
                      ", want 0000");
  for (DistributedFile& part : set_.parts) part.md5 = "";
  write_file(folder_ / "parts/p02", "");
  expect_nothing_made("A made set: start: truncated gzip input");
}

TEST_F(Parts, AreRefusedWhereTheContentsAreNotWhatTheyMustBe) {
  set_.contents[0].md5 = std::string(32, '0');
  expect_nothing_made("train.rec: md5 sum: found");
  set_.contents[0].md5 = "";
  set_.contents.push_back({"readme", ""});
  expect_nothing_made("the tar holds no readme");
  set_.contents.pop_back();
  // Without sums, an .idx of another file is noticed all the same.
  for (DistributedFile& content : set_.contents) content.md5 = "";
  write_text(folder_ / "set/train.idx", "1\t0\n2\t20\n");
  run("rm parts/* && tar -czf all.tgz set && split -n 3 -d all.tgz parts/p");
  for (DistributedFile& part : set_.parts) part.md5 = "";
  expect_nothing_made("train.idx: key 2");
}

TEST_F(Parts, LeaveNothingWhereTheyAreInterrupted) {
  EXPECT_THROW(assemble(set_, folder_ / "parts", folder_ / "out",
                        [](std::int64_t done, std::int64_t total) {
                          if (done == total) throw Error("stopped");
                        }),
               Error);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  put_together();  // remains of the first run do not matter
  EXPECT_EQ(open_dataset({.path = folder_ / "out/set"})->size(), 60);
}

TEST_F(Parts, LeaveNothingUnderAFinalNameOnAFullDisk) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit little{.rlim_cur = 1000, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  EXPECT_THAT([&] { put_together(); }, ThrowsMessage<Error>(HasSubstr("write: File too large")));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  EXPECT_FALSE(fs::exists(folder_ / "out.partial/set/train.rec"));
}

TEST_F(Parts, CannotWriteOutsideOfTheFolder) {
  run("rm parts/*; tar -cf all.tar --transform 's|set/property|../outside|' set 2>/dev/null -P && "
      "split -n 3 -d all.tar parts/p");
  for (DistributedFile& part : set_.parts) part.md5 = "";
  expect_nothing_made("../outside: a path that leads out of the folder");
  EXPECT_FALSE(fs::exists(folder_ / "outside"));
}

TEST_F(Parts, TellWhichSetTheyAreOf) {
  fs::create_directory(folder_ / "downloads");
  EXPECT_THAT(
      [&] { recognise_distributed_set(folder_ / "downloads"); },
      ThrowsMessage<Error>(HasSubstr("no parts of a known set, which would be glint360k00")));
  write_text(folder_ / "downloads/glint360k_03", "x");
  EXPECT_EQ(recognise_distributed_set(folder_ / "downloads").name, "glint360k_2021");
  write_text(folder_ / "downloads/glint360k04", "x");
  write_text(folder_ / "downloads/glint360k05", "x");
  EXPECT_EQ(recognise_distributed_set(folder_ / "downloads").name, "glint360k");
}

}  // namespace
}  // namespace pfc
