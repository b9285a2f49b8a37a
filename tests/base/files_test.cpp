#include "pfc/base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  TemporaryFolder folder_;
};

TEST_F(Files, AnAtomicFileAppearsWholeOrNotAtAll) {
  const fs::path path = folder_ / "a";
  {
    AtomicFile file(path);
    file.write("half");
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_EQ(entries(), 0u);  // without commit nothing is left, the temporary file neither
  AtomicFile file(path);
  file.write("who");
  file.write("le");
  file.commit();
  EXPECT_EQ(read_file(path), "whole");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, AnAtomicFileReplacesOnlyOnCommit) {
  const fs::path path = folder_ / "a";
  AtomicFile first(path);
  first.write("old");
  first.commit();
  {
    AtomicFile second(path);
    second.write("new");
    EXPECT_EQ(read_file(path), "old");
    second.commit();
  }
  EXPECT_EQ(read_file(path), "new");
}

TEST_F(Files, AnAtomicFileTellsWhereItCannotBeCreated) {
  EXPECT_THAT([&] { AtomicFile file(folder_ / "missing" / "a"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("missing/a")));
}

TEST_F(Files, AMappedFileHoldsTheBytes) {
  const fs::path path = folder_ / "a";
  AtomicFile file(path);
  file.write("bytes");
  file.commit();
  MappedFile mapped(path);
  ASSERT_EQ(mapped.bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(mapped.bytes()[0]), 'b');
  MappedFile moved = std::move(mapped);
  EXPECT_EQ(moved.bytes().size(), 5u);
}

TEST_F(Files, AnEmptyFileMapsToNoBytes) {
  AtomicFile(folder_ / "a").commit();
  EXPECT_TRUE(MappedFile(folder_ / "a").bytes().empty());
}

TEST_F(Files, AMissingFileAndAFolderAreNamed) {
  EXPECT_THAT([&] { MappedFile mapped(folder_ / "none"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("none: cannot open")));
  EXPECT_THAT([&] { MappedFile mapped(folder_.path()); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("not a regular")));
  EXPECT_THAT([&] { read_file(folder_ / "none"); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("none")));
}

}  // namespace
}  // namespace pfc
