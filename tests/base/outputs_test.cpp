#include "pfc/base/outputs.h"
#include "pfc/base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Outputs : public testing::Test {
 protected:
  static void refuses(const fs::path& file, const std::string& why) {
    EXPECT_THAT([&] { require_writable(file); },
                testing::ThrowsMessage<Error>(testing::AllOf(
                    HasSubstr(file.string() + ": cannot be written"), HasSubstr(why))));
  }
  static void refuses_folder(const fs::path& folder, const std::string& why) {
    EXPECT_THAT([&] { require_writable_folder(folder); },
                testing::ThrowsMessage<Error>(HasSubstr(why)));
  }

  TemporaryFolder folder_;
};

TEST_F(Outputs, WhatCanBeWrittenIsNotRefusedAndNotMade) {
  write_text(folder_ / "old", "kept");
  for (const char* name : {"new", "old"}) require_writable(folder_ / name);
  for (const char* name : {"new", "a/b/c", "a/"}) require_writable_folder(folder_ / name);
  require_writable_folder(folder_.path());
  require_writable("beside.json");
  require_writable_folder("beside");
  require_writable_folder("");
  require_writable("");
  EXPECT_FALSE(fs::exists(folder_ / "new"));
  EXPECT_FALSE(fs::exists(folder_ / "a"));
  EXPECT_EQ(fs::file_size(folder_ / "old"), 4u);
}

TEST_F(Outputs, AFolderThatIsMissingAndAFileInItsPlaceAreNamed) {
  write_text(folder_ / "file", "");
  refuses(folder_ / "none" / "a.json", "there is no folder " + (folder_ / "none").string());
  refuses(folder_ / "file" / "a.json", "");
  refuses(folder_.path(), "it is a folder");
  refuses_folder(folder_ / "file" / "a", "");
  refuses_folder(folder_ / "file", (folder_ / "file").string() + " is not a folder");
}

TEST_F(Outputs, LinksAreFollowed) {
  fs::create_symlink("/nowhere/a.json", folder_ / "lost.json");
  refuses(folder_ / "lost.json", "there is no folder /nowhere");
  fs::create_symlink("target.json", folder_ / "a.json");  // not there yet
  require_writable(folder_ / "a.json");
  fs::create_symlink("none/c.json", folder_ / "b.json");
  fs::create_symlink("b.json", folder_ / "chain.json");
  refuses(folder_ / "chain.json", "there is no folder " + (folder_ / "none").string());
  fs::create_symlink("round.json", folder_ / "round.json");
  refuses(folder_ / "round.json", "Too many levels of symbolic links");
  fs::create_symlink("/nowhere/mounted", folder_ / "disk");
  refuses_folder(folder_ / "disk" / "out", "a link to /nowhere/mounted, which is not there");
}

TEST_F(Outputs, DevicesAndPipesAreWrittenToAsTheyAre) {
  require_writable("/dev/null");
  require_writable("/dev/stdout");
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  require_writable(folder_ / "pipe");  // and is not opened, because that would wait for a reader
}

TEST_F(Outputs, WhatOthersAreWrittenBesideIsARegularFile) {
  fs::create_symlink("/dev/null", folder_ / "to_null");
  for (const fs::path& path : {fs::path("/dev/null"), fs::path("/dev/stdout"), folder_ / "to_null"})
    EXPECT_THAT([&] { require_regular(path); },
                testing::ThrowsMessage<Error>(HasSubstr("it is a device or a pipe")));
  write_text(folder_ / "old", "");
  for (const char* name : {"new", "old"}) require_regular(folder_ / name);
}

TEST_F(Outputs, TextDoesNotMixWithAFileThatIsStandardOutput) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  print_text("a\nb\n", {"", "/dev/stdout"});
  print_text("c\n", {"", folder_ / "none"});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "a\nb\n");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "c\n");
}

TEST_F(Outputs, AFolderWithoutTheRightToWriteIsRefused) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  fs::create_directory(folder_ / "locked");
  fs::permissions(folder_ / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  refuses(folder_ / "locked" / "a.json", "Permission denied");
  refuses_folder(folder_ / "locked" / "a", "Permission denied");

  // A file is replaced in its folder, so the file's own permissions do not matter.
  write_text(folder_ / "kept", "");
  fs::permissions(folder_ / "kept", fs::perms::owner_read);
  fs::create_symlink("kept", folder_ / "to_kept");
  require_writable(folder_ / "to_kept");
}

}  // namespace
}  // namespace pfc
