#include "pfc/base/checksum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::size_t kBlock = Checksums::kBlockBytes;

std::string some_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 2654435761u >> 13);
  return bytes;
}

Checksums sums_of(const std::string& text) {
  ChecksumBuilder builder;
  builder.add(std::as_bytes(std::span(text)));
  return builder.finish();
}

TEST(Checksum, DoesNotDependOnThePartsThatBytesComeIn) {
  const std::string text = some_bytes(2 * kBlock + 77);
  ChecksumBuilder builder;
  for (std::size_t at = 0, size = 1; at < text.size(); at += size, size = size * 3 + 1) {
    builder.add(std::as_bytes(std::span(text)).subspan(at, std::min(size, text.size() - at)));
  }
  const Checksums sums = builder.finish();
  EXPECT_EQ(sums, sums_of(text));
  EXPECT_EQ(sums.bytes, text.size());
  EXPECT_EQ(sums.blocks.size(), 3u);
  EXPECT_TRUE(sums_of("").blocks.empty());
}

TEST(CheckedFile, ReadsAnyPartOfAnUnchangedFile) {
  const TemporaryFolder folder;
  const std::string text = some_bytes(2 * kBlock + 77);
  write_text(folder / "file", text);
  CheckedFile file(folder / "file", sums_of(text));
  for (const auto& [offset, size] : {std::pair<std::size_t, std::size_t>{0, 10},
                                     {kBlock - 5, 10},
                                     {5, 2 * kBlock},
                                     {text.size() - 1, 1},
                                     {text.size(), 0}}) {
    std::string out(size, '\0');
    file.read(offset, std::as_writable_bytes(std::span(out)));
    EXPECT_EQ(out, text.substr(offset, size)) << offset;
  }
  file.verify();
  std::string out(2, '\0');
  EXPECT_THAT([&] { file.read(text.size() - 1, std::as_writable_bytes(std::span(out))); },
              ThrowsMessage<DataError>(HasSubstr("2 bytes wanted of a file of")));
}

TEST(CheckedFile, OneThatCannotBeReadIsNotAltered) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("file", folder / "file");  // leads round in a circle
  EXPECT_THAT([&] { CheckedFile(folder / "file", sums_of("x")).verify(); },
              ThrowsMessage<IoError>(HasSubstr("file: cannot open: Too many levels")));
}

TEST(CheckedFile, RefusesAMissingAShorterALongerAndAnAlteredOneByName) {
  const TemporaryFolder folder;
  const std::string text = some_bytes(kBlock + 100);
  const Checksums sums = sums_of(text);
  const auto open = [&] { CheckedFile(folder / "file", sums).verify(); };
  EXPECT_THAT(open, ThrowsMessage<Error>(HasSubstr("file: is missing")));
  write_text(folder / "file", text.substr(1));
  EXPECT_THAT(open, ThrowsMessage<DataError>(AllOf(HasSubstr("file: end: 8,388,707 bytes"),
                                                   HasSubstr("want 8,388,708"))));
  write_text(folder / "file", text + "x");
  EXPECT_THAT(open, ThrowsMessage<DataError>(HasSubstr("8,388,709 bytes, want 8,388,708")));
  for (const std::size_t at : {std::size_t{0}, kBlock - 1, kBlock, kBlock + 99}) {
    std::string altered = text;
    altered[at] ^= 1;
    write_text(folder / "file", altered);
    EXPECT_THAT(open,
                ThrowsMessage<DataError>(HasSubstr(at < kBlock ? "file: offset 0: altered"
                                                               : "file: offset 8388608: altered")))
        << at;
  }
}

TEST(CheckedFile, ReadsPastAnAlteredBlockThatIsNotWanted) {
  const TemporaryFolder folder;
  const std::string text = some_bytes(2 * kBlock);
  std::string altered = text;
  altered[3] ^= 1;
  write_text(folder / "file", altered);
  CheckedFile file(folder / "file", sums_of(text));
  std::string out(100, '\0');
  file.read(kBlock, std::as_writable_bytes(std::span(out)));
  EXPECT_EQ(out, text.substr(kBlock, 100));
  EXPECT_THROW(file.read(0, std::as_writable_bytes(std::span(out))), DataError);
  file.read(kBlock, std::as_writable_bytes(std::span(out)));  // still
  EXPECT_EQ(out, text.substr(kBlock, 100));
}

}  // namespace
}  // namespace pfc
