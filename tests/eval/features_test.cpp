#include "pfc/eval/features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "pfc/base/error.h"
#include "pfc/formats/npy.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

void write_rows(const std::filesystem::path& path, const std::vector<std::array<float, 2>>& rows) {
  NpyWriter writer(path, 2);
  for (const auto& row : rows) writer.add_row(row);
  writer.commit();
}

TEST(Features, AreTheRowsOfANumpyFileAndTheLinesOfTheTextBesideIt) {
  const TemporaryFolder folder;
  write_rows(folder / "a.npy", {{1, 2}, {3, 4}});
  write_text(folder / "a.txt", "x/1.jpg\r\nx/2 with space.jpg\n");
  const auto features = open_features(folder / "a.npy");
  EXPECT_EQ(features->count(), 2);
  EXPECT_EQ(features->dim(), 2);
  EXPECT_EQ(features->name(0), "x/1.jpg");
  EXPECT_THAT(features->place(1), testing::EndsWith("a.npy: row 1 (x/2 with space.jpg)"));
  std::array<float, 2> row{};
  features->read_row(1, row);
  EXPECT_THAT(row, ElementsAre(3, 4));
}

TEST(Features, WantANameForEveryRow) {
  const TemporaryFolder folder;
  write_rows(folder / "a.npy", {{1, 2}, {3, 4}});
  EXPECT_THAT([&] { open_features(folder / "none.npy"); },
              ThrowsMessage<Error>(HasSubstr("none.npy")));
  EXPECT_THAT([&] { open_features(folder / "a.npy"); },
              ThrowsMessage<Error>(HasSubstr("a.txt: not found")));
  write_text(folder / "a.txt", "one\n");
  EXPECT_THAT([&] { open_features(folder / "a.npy"); },
              ThrowsMessage<DataError>(HasSubstr("2 rows, but")));
  EXPECT_THAT([&] { open_features(folder / "a.npy", 3, "images.txt"); },
              ThrowsMessage<DataError>(HasSubstr("2 rows, but images.txt has 3 lines")));
}

TEST(Features, AsUnitRowsKeepZerosAndCountThem) {
  const auto features = make_features({3, 4, 0, 0, -2, 0}, 2, {"a", "b", "c"});
  const std::array<std::int64_t, 3> of = {2, 1, 0};
  std::array<float, 6> rows{};
  EXPECT_EQ(read_unit_rows(*features, of, rows), 1);
  EXPECT_THAT(rows, ElementsAre(-1, 0, 0, 0, 0.6f, 0.8f));
}

TEST(Features, ThatAreNotFiniteAreNamed) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const auto features = make_features({1, 0, 0, value}, 2, {"a.jpg", "b.jpg"});
    const std::array<std::int64_t, 2> of = {0, 1};
    std::array<float, 4> rows{};
    EXPECT_THAT([&] { read_unit_rows(*features, of, rows); },
                ThrowsMessage<Error>("b.jpg: a value that is not finite"));
  }
}

}  // namespace
}  // namespace pfc
