#include <gmock/gmock.h>

#include <cstdlib>
#include <string>

#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/verification_set.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

void write_two_pairs(const std::filesystem::path& path) {
  VerificationSetWriter writer(path);
  writer.add(bytes_of("a"), bytes_of("bc"), true);
  writer.add(bytes_of(""), bytes_of("(e.\n"), false);
  writer.commit();
}

TEST(VerificationSetWriter, WhatItWritesIsReadBack) {
  const TemporaryFolder folder;
  write_two_pairs(folder / "two.bin");
  const VerificationSet set = VerificationSet::open(folder / "two.bin");
  ASSERT_EQ(set.pairs(), 2);
  EXPECT_EQ(text_of(set.image(0)), "a");
  EXPECT_EQ(text_of(set.image(1)), "bc");
  EXPECT_EQ(text_of(set.image(2)), "");
  EXPECT_EQ(text_of(set.image(3)), "(e.\n");
  EXPECT_TRUE(set.same(0));
  EXPECT_FALSE(set.same(1));
}

TEST(VerificationSetWriter, PythonReadsTheSame) {
  if (std::system("python3 -c '' 2>/dev/null") != 0) GTEST_SKIP() << "there is no python3";
  const TemporaryFolder folder;
  write_two_pairs(folder / "two.bin");
  write_text(folder / "read.py",
             "import pickle, sys\n"
             "bins, same = pickle.load(open(sys.argv[1], 'rb'), encoding='bytes')\n"
             "assert bins == [b'a', b'bc', b'', b'(e.\\n'], bins\n"
             "assert same == [True, False], same\n");
  const std::string command =
      "python3 '" + (folder / "read.py").string() + "' '" + (folder / "two.bin").string() + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(VerificationSetWriter, LeavesNothingBehindWithoutCommit) {
  const TemporaryFolder folder;
  {
    VerificationSetWriter writer(folder / "two.bin");
    EXPECT_THROW(writer.commit(), Error);  // no pair
    writer.add(bytes_of("a"), bytes_of("bc"), true);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace pfc
