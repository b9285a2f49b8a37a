#include "pfc/formats/npy.h"

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

TEST(NpyWriter, WritesAVectorThatNumPyReads) {
  const Python python("numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  const TemporaryFolder folder;
  NpyWriter writer(folder / "lengths.npy");
  for (const float x : {0.5f, 1.5f}) writer.add_row(std::array{x});
  writer.commit();
  EXPECT_EQ(python.run("import sys, numpy; a = numpy.load(sys.argv[1])\n"
                       "print(a.dtype, a.shape, a.tolist())",
                       folder / "lengths.npy"),
            "float32 (2,) [0.5, 1.5]\n");
}

/// A file of version 1 with a header of any text.
std::string npy(const std::string& header, const std::string& values) {
  std::string file = "\x93NUMPY\x01";
  file.push_back('\0');
  file.push_back(static_cast<char>(header.size()));
  file.push_back('\0');
  return file + header + values;
}

NpyMatrix parse_npy(const std::string& file) {
  return {std::as_bytes(std::span(file)), "a.npy"};
}

TEST(NpyMatrix, ReadsWhatTheWriterWrote) {
  const TemporaryFolder folder;
  NpyWriter writer(folder / "rows.npy", 2);
  writer.add_row(std::array{1.0f, 2.0f});
  writer.add_row(std::array{-3.0f, 4.5f});
  writer.commit();
  const NpyMatrix matrix(folder / "rows.npy");
  EXPECT_EQ(matrix.rows(), 2);
  EXPECT_EQ(matrix.columns(), 2);
  std::array<float, 2> row{};
  matrix.read_row(1, row);
  EXPECT_THAT(row, testing::ElementsAre(-3.0f, 4.5f));
}

TEST(NpyMatrix, ReadsWhatNumPyWrites) {
  const Python python("numpy");
  if (!python) GTEST_SKIP() << python.why_not();
  const TemporaryFolder folder;
  python.run(
      "import sys, numpy\n"
      "from numpy.lib import format\n"
      "a = numpy.arange(6.0).reshape(3, 2) / 7\n"
      "for v in [(1, 0), (2, 0), (3, 0)]:\n"
      "  for t in ['f4', 'f8']:\n"
      "    with open(f'{sys.argv[1]}/{v[0]}{t}.npy', 'wb') as f:\n"
      "      format.write_array(f, a.astype(t), v)\n",
      folder.path());
  for (const char* name : {"1f4", "1f8", "2f4", "2f8", "3f4", "3f8"}) {
    const NpyMatrix matrix(folder / (std::string(name) + ".npy"));
    ASSERT_EQ(matrix.rows(), 3) << name;
    std::array<float, 2> row{};
    matrix.read_row(2, row);
    EXPECT_EQ(row[0], static_cast<float>(4.0 / 7)) << name;
    EXPECT_EQ(row[1], static_cast<float>(5.0 / 7)) << name;
  }
}

TEST(NpyMatrix, SaysWhatElseAFileIs) {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  EXPECT_EQ(parse_npy(npy(good, std::string(8, 'x'))).columns(), 2);
  const auto fails = [](const std::string& file, const std::string& with) {
    EXPECT_THAT([&] { parse_npy(file); },
                testing::ThrowsMessage<DataError>(testing::HasSubstr("a.npy: " + with)))
        << file;
  };
  fails("PK\x03\x04", "offset 0: found a zip archive, want a NumPy array, .npy");
  fails("", "offset 0: found an empty file, want a NumPy array, .npy");
  fails("\x93NUMPY", "offset 0: a header that is cut off, want a NumPy array, .npy");
  fails(npy(good, std::string(7, 'x')), "header: says 1 row of 2 values, 7 bytes follow");
  for (const char* header :
       {"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }", "{}", ""}) {
    fails(npy(header, std::string(8, 'x')), "header: found");
  }
  fails(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 0), }", ""), "header: says");
  std::string cut = npy(good, "");
  cut[8] = 120;
  fails(cut, "offset 8: a header of 120 bytes goes beyond the end");
}

}  // namespace
}  // namespace pfc
