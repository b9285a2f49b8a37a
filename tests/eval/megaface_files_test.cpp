#include "pfc/eval/megaface_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing::UnorderedElementsAre;

std::vector<std::string> parse(const std::string& text, int parts) {
  return parse_megaface_list(std::as_bytes(std::span(text)), "list", parts);
}

TEST(MegafaceLists, KeepTheEndsOfPaths) {
  EXPECT_THAT(parse("data/facescrub/Al Pacino/Al Pacino_1.png\nB/B_2.png\r\n", 2),
              ElementsAre("Al Pacino/Al Pacino_1.png", "B/B_2.png"));
  EXPECT_THAT(parse("#rules\n3\ta/b/1_0.jpg\na/c/2_1.jpg\n", 3),
              ElementsAre("a/b/1_0.jpg", "a/c/2_1.jpg"));
  EXPECT_THAT(parse(R"({"id": ["x"], "path": ["root/a/b/1.jpg"]})", 3), ElementsAre("a/b/1.jpg"));
  EXPECT_THAT(parse("\xef\xbb\xbf{\"path\": [\"a/b/1.jpg\"]}", 3), ElementsAre("a/b/1.jpg"));
}

TEST(MegafaceLists, SayWhichLineIsWrong) {
  const auto fails = [](const std::string& text, int parts, const std::string& with) {
    EXPECT_THAT([&] { parse(text, parts); }, ThrowsMessage<DataError>(HasSubstr(with)));
  };
  fails("A/1.png\n2.png\n", 2, "list: line 2: found \"2.png\", want \"PERSON/IMAGE\"");
  fails("a/1.png\n", 3, "want \"A/B/IMAGE\"");
  fails("# nothing\n", 1, "list: whole file: no images");
  fails("{\"paths\": []}", 1, "list: JSON");
  fails(R"({"path": ["1.jpg"]})", 3, "list: path 0");
}

TEST(MegafaceLists, OfNoiseMayBeEmpty) {
  const TemporaryFolder folder;
  write_text(folder / "none.txt", "#rules\n");
  write_text(folder / "some.txt", "#rules\nA_1.png\nA_2.png\n");
  EXPECT_TRUE(read_megaface_noises(folder / "none.txt", 1).empty());
  EXPECT_THAT(read_megaface_noises(folder / "some.txt", 1),
              UnorderedElementsAre("A_1.png", "A_2.png"));
}

TEST(MegafaceFeature, IsAnOpenCvMatrix) {
  const TemporaryFolder folder;
  write_megaface_feature(folder / "a/x_pfc.bin", std::array{1.0f, -2.0f});
  const std::string file = read_file(folder / "a/x_pfc.bin");
  EXPECT_EQ(file.substr(0, 16), std::string("\2\0\0\0\1\0\0\0\4\0\0\0\5\0\0\0", 16));
  const auto of = [](const std::string& bytes) {
    return parse_megaface_feature(std::as_bytes(std::span(bytes)), "x.bin");
  };
  EXPECT_THAT(of(file), ElementsAre(1, -2));
  EXPECT_THAT([&] { of(file.substr(0, 20)); },
              ThrowsMessage<DataError>("x.bin: offset 0: says 2 values, 4 bytes follow"));
  EXPECT_THAT([&] { of(file.substr(0, 15)); }, ThrowsMessage<DataError>(HasSubstr("no feature")));
  EXPECT_THAT([&] { of(std::string(24, '\0')); },
              ThrowsMessage<DataError>(HasSubstr("no feature")));
}

TEST(MegafaceFeatures, WithAMarkReadAsZeros) {
  const TemporaryFolder folder;
  std::vector<float> values(65, 1.0f);
  values.back() = 0;
  write_megaface_feature(folder / "P/1.png_pfc.bin", values);
  values.back() = 100;
  write_megaface_feature(folder / "P/2.png_pfc.bin", values);
  write_megaface_feature(folder / "P/3.png_pfc.bin", std::array{1.0f});
  const auto features =
      open_megaface_features(folder.path(), "pfc", {"P/1.png", "P/2.png", "P/3.png"});
  EXPECT_EQ(features->dim(), 64);
  std::vector<float> row(64);
  features->read_row(0, row);
  EXPECT_THAT(row, Each(1.0f));
  features->read_row(1, row);
  EXPECT_THAT(row, Each(0.0f));
  EXPECT_THAT([&] { features->read_row(2, row); },
              ThrowsMessage<DataError>(HasSubstr("1 value, want 65")));
  EXPECT_THROW(open_megaface_features(folder.path(), "pfc", {"P/9.png"}), Error);
}

}  // namespace
}  // namespace pfc
