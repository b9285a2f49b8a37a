#include "pfc/base/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

void expect_failure(const fs::path& path, const std::string& sentence) {
  for (const auto& look : {is_there, is_folder, is_file}) {
    EXPECT_THAT([&] { look(path); }, ThrowsMessage<Error>(HasSubstr(sentence))) << path;
  }
}

TEST(Paths, TellFilesFromFoldersAndBothFromNothing) {
  const TemporaryFolder folder;
  write_text(folder / "file", "");
  fs::create_symlink(folder / "file", folder / "link");
  fs::create_directory_symlink(folder.path(), folder / "folder");
  for (const char* name : {"file", "link", "folder/file"}) {
    EXPECT_TRUE(is_there(folder / name) && is_file(folder / name)) << name;
    EXPECT_FALSE(is_folder(folder / name)) << name;
  }
  EXPECT_TRUE(is_there(folder / "folder") && is_folder(folder / "folder"));
  EXPECT_FALSE(is_file(folder / "folder"));
  for (const char* name : {"none", "none/below", "folder/none", "folder/none/below"})
    EXPECT_FALSE(is_there(folder / name)) << name;
  EXPECT_TRUE(is_there(".") && is_there("/"));
  EXPECT_FALSE(is_there("") || is_there("none"));
}

TEST(Paths, DoNotTakeALinkToNothingForAbsence) {
  const TemporaryFolder folder;
  fs::create_symlink("/disk/that/is/not/mounted", folder / "link");
  const std::string want = "link: a link to /disk/that/is/not/mounted, which is not there";
  expect_failure(folder / "link", want);
  expect_failure(folder / "link" / "below" / "it", want);
  fs::create_symlink("link", folder / "link to a link");
  expect_failure(folder / "link to a link", "link to a link: a link to link, which is not there");
}

TEST(Paths, DoNotTakeAFailureForAbsence) {
  const TemporaryFolder folder;
  write_text(folder / "file", "");
  expect_failure(folder / "file" / "below", "below: cannot look at: Not a directory");
  fs::create_symlink("loop", folder / "loop");
  expect_failure(folder / "loop", "loop: cannot look at: Too many levels of symbolic links");
  expect_failure(folder / std::string(300, 'x'), "File name too long");
  if (::geteuid() == 0) return;  // root may search every folder
  fs::create_directory(folder / "closed");
  fs::permissions(folder / "closed", fs::perms::none);
  expect_failure(folder / "closed" / "below", "below: cannot look at: Permission denied");
  fs::permissions(folder / "closed", fs::perms::owner_all);
}

TEST(Paths, ListAFolderOrSayWhyNot) {
  const TemporaryFolder folder;
  for (const char* name : {"b", "a", "c"}) write_text(folder / name, "");
  EXPECT_THAT(entries_of(folder.path()), ElementsAre(folder / "a", folder / "b", folder / "c"));
  EXPECT_THAT([&] { entries_of(folder / "none"); },
              ThrowsMessage<Error>(HasSubstr("none: cannot list: No such file")));
  EXPECT_THAT([&] { entries_of(folder / "a"); },
              ThrowsMessage<Error>(HasSubstr("a: cannot list: Not a directory")));
}

}  // namespace
}  // namespace pfc
