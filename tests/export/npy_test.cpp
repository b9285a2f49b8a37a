#include "pfc/export/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "pfc/base/error.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

TEST(NpyWriter, WritesAHeaderOf128BytesAndTheRows) {
  const TemporaryFolder folder;
  NpyWriter writer(folder / "rows.npy", 2);
  writer.add_row(std::array{1.0f, 2.0f});
  EXPECT_FALSE(std::filesystem::exists(folder / "rows.npy"));
  writer.add_row(std::array{3.0f, 4.0f});
  writer.commit();
  const std::string file = read_file(folder / "rows.npy");
  ASSERT_EQ(file.size(), 128u + 16u);
  EXPECT_EQ(file.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_THAT(file,
              testing::HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"));
  EXPECT_EQ(file[127], '\n');
  EXPECT_EQ(file.substr(128), std::string("\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40", 16));
}

TEST(NpyWriter, RefusesARowOfAnotherLength) {
  const TemporaryFolder folder;
  NpyWriter writer(folder / "rows.npy", 2);
  EXPECT_THROW(writer.add_row(std::array{1.0f}), Error);
}

TEST(NpyWriter, IsWhatNumPyReads) {
  const Python python("numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  const TemporaryFolder folder;
  NpyWriter writer(folder / "rows.npy", 3);
  for (const float x : {0.5f, 1.5f}) writer.add_row(std::array{x, -x, 1e20f});
  writer.commit();
  EXPECT_EQ(python.run("import sys, numpy; a = numpy.load(sys.argv[1], mmap_mode='r')\n"
                       "print(a.dtype, a.shape, a.tolist())",
                       folder / "rows.npy"),
            "float32 (2, 3) [[0.5, -0.5, 1.0000000200408773e+20], "
            "[1.5, -1.5, 1.0000000200408773e+20]]\n");
}

}  // namespace
}  // namespace pfc
