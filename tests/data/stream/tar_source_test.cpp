#include "data/stream/tar_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "data/stream/faces.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// A ustar entry, by hand.
std::string entry(const std::string& name, const std::string& content, char type = '0') {
  std::string header(512, '\0');
  const auto field = [&](std::size_t at, const std::string& text) {
    std::ranges::copy(text, header.begin() + static_cast<std::ptrdiff_t>(at));
  };
  char size[12];
  std::snprintf(size, sizeof size, "%011zo", content.size());
  field(0, name);
  field(100, "0000644");
  field(108, "0000000");
  field(116, "0000000");
  field(124, size);
  field(136, "00000000000");
  field(148, "        ");
  header[156] = type;
  field(257, "ustar");
  field(263, "00");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char checksum[8];
  std::snprintf(checksum, sizeof checksum, "%06o", sum);
  field(148, checksum);
  header[155] = ' ';
  return header + content + std::string((512 - content.size() % 512) % 512, '\0');
}

std::string tar(const std::string& entries) {
  return entries + std::string(1024, '\0');
}

TarSource source_of(const std::vector<std::string>& tars) {
  return {"shards",
          [&tars](std::size_t i) -> std::optional<TarReader> {
            if (i >= tars.size()) return std::nullopt;
            return TarReader::parse(std::as_bytes(std::span(tars[i])), "shard" + std::to_string(i));
          },
          1};
}

std::vector<OwnedFace> faces_of(const std::vector<std::string>& tars) {
  TarSource source = source_of(tars);
  return all_of(source);
}

TEST(TarSource, ReadsSamplesOfAnyOrderOfFilesAndPassesOverOthers) {
  const std::vector<std::string> tars = {
      tar(entry("a/", "", '5') + entry("a/1.jpg", "one") + entry("a/1.cls", "7") +
          entry("a/1.json", "{}") + entry("a/2.cls", "8\n") + entry("a/2.png", "two")),
      tar(entry("readme", "text")), tar(entry("3.cls", "0") + entry("3.face.jpeg", "three"))};
  TarSource source = source_of(tars);
  EXPECT_THAT(all_of(source),
              ElementsAre(OwnedFace{7, "one"}, OwnedFace{8, "two"}, OwnedFace{0, "three"}));
  EXPECT_EQ(source.passed_over(), "2 files that are no JPEG, PNG, WebP or BMP (a/1.json, readme)");
}

TEST(TarSource, HiddenFilesArePassedOverAndEndNoSample) {
  const std::vector<std::string> tars = {tar(entry("a/._1.jpg", "of a Mac") +
                                             entry("a/1.jpg", "one") + entry("a/._1.cls", "") +
                                             entry("a/1.cls", "7"))};
  TarSource source = source_of(tars);
  EXPECT_THAT(all_of(source), ElementsAre(OwnedFace{7, "one"}));
  EXPECT_EQ(source.passed_over(), "2 hidden files (a/._1.jpg, a/._1.cls)");
}

TEST(TarSource, WithoutASampleIsAnError) {
  EXPECT_THAT(
      [] {
        faces_of({tar(entry("a.gif", "x")), tar("")});
      },
      ThrowsMessage<Error>(HasSubstr("shards: no samples, want images (JPEG, PNG, WebP or BMP)")));
}

TEST(TarSource, RefusesSamplesThatAreNotWholeOrNotLabelled) {
  const auto fails_with = [](const std::string& entries, const std::string& sentence) {
    EXPECT_THAT([&] { faces_of({tar(entries)}); }, ThrowsMessage<DataError>(HasSubstr(sentence)));
  };
  fails_with(entry("1.jpg", "x") + entry("2.jpg", "y"), "1: sample: has an image and no .cls");
  fails_with(entry("1.cls", "3"), "1: sample: has a .cls and no image");
  fails_with(entry("1.jpg", "x") + entry("1.png", "x"), "has two images");
  fails_with(entry("1.jpg", "x") + entry("1.cls", "seven"), "1.cls: label: found \"seven\"");
  fails_with(entry("1.jpg", "x") + entry("1.cls", "-1"), "want a whole number below 2147483647");
  fails_with(entry("1.jpg", "x") + entry("1.cls", "4294967296"), "want a whole number below");
  fails_with(entry("1.jpg", "x") + entry("1.cls", std::string(40, '1')), "larger than such a file");
}

TEST(TarSource, RefusesWhatIsNoTarOrIsCutShort) {
  EXPECT_THAT([] { faces_of({std::string(2000, 'x')}); },
              ThrowsMessage<DataError>(HasSubstr("shard0: start: ")));
  const std::string whole = tar(entry("1.jpg", std::string(3000, 'x')) + entry("1.cls", "0"));
  EXPECT_EQ(faces_of({whole}).size(), 1u);
  for (const std::size_t size : {std::size_t{100}, std::size_t{1000}, std::size_t{3600}})
    EXPECT_THROW(faces_of({whole.substr(0, size)}), DataError) << size;
}

}  // namespace
}  // namespace pfc
