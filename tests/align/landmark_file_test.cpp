#include "pfc/align/landmark_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr ImageSize kSize{400, 300};

/// The result refers to `text`, which must stay alive.
LandmarkFile parsed(const std::string& text) {
  return LandmarkFile::parse(std::as_bytes(std::span(text)), "landmarks.txt");
}

/// Faces as in pictures: at various places and sizes, leaning to a side, with points that are off
/// by a tenth of the distance between the eyes.
std::vector<Landmarks> faces(int count) {
  std::mt19937 random(7);
  const auto between = [&](double low, double high) {
    return low + (high - low) * static_cast<double>(random()) / 4294967296.0;
  };
  std::vector<Landmarks> result(static_cast<std::size_t>(count), kFaceTemplate);
  for (Landmarks& face : result) {
    const double scale = between(0.5, 1.5), angle = between(-0.4, 0.4);
    const double right = between(0, 200), down = between(0, 100);
    for (Point& p : face) {
      p = {scale * (std::cos(angle) * p.x - std::sin(angle) * p.y) + right + between(-3, 3),
           scale * (std::sin(angle) * p.x + std::cos(angle) * p.y) + down + between(-3, 3)};
    }
  }
  return result;
}

std::vector<double> numbers_of(const Landmarks& face) {
  std::vector<double> numbers;
  for (const Point& p : face) numbers.insert(numbers.end(), {p.x, p.y});
  return numbers;
}

using Numbers = std::function<std::vector<double>(const Landmarks&, int i)>;

/// A list of pictures `p0.jpg`, … with the numbers that `make` computes from their points.
std::string list_of(const std::vector<Landmarks>& all, const Numbers& make,
                    const std::string& separator = " ") {
  std::string text;
  for (std::size_t i = 0; i < all.size(); ++i) {
    text += "p" + std::to_string(i) + ".jpg";
    for (const double number : make(all[i], static_cast<int>(i)))
      text += separator + format("%.9g", number);
    text += "\n";
  }
  return text;
}

void expect_faces(const LandmarkFile& file, const std::vector<Landmarks>& all) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto found = file.find("p" + std::to_string(i) + ".jpg", kSize);
    ASSERT_TRUE(found) << i;
    for (std::size_t k = 0; k < 5; ++k) {
      EXPECT_NEAR(found->at(k).x, all[i][k].x, 1e-4) << file.reading_text();
      EXPECT_NEAR(found->at(k).y, all[i][k].y, 1e-4) << file.reading_text();
    }
  }
}

std::vector<double> joined(std::vector<double> first, const std::vector<double>& then) {
  first.insert(first.end(), then.begin(), then.end());
  return first;
}

std::vector<double> columns_of(const Landmarks& face) {
  std::vector<double> numbers;
  for (const Point& p : face) numbers.push_back(p.x);
  for (const Point& p : face) numbers.push_back(p.y);
  return numbers;
}

/// The corner and the size of a box, as detectors write it.
std::vector<double> box_of(const Landmarks& face) {
  return {face[0].x - 20, face[0].y - 25, face[1].x - face[0].x + 40, face[3].y - face[0].y + 50};
}

struct Form {
  std::string name, reading;
  Numbers make;
};

class LandmarkForms : public testing::TestWithParam<Form> {};

TEST_P(LandmarkForms, AreRecognisedByWhatLooksLikeFaces) {
  const auto all = faces(40);
  const std::string text = list_of(all, GetParam().make);
  const LandmarkFile file = parsed(text);
  EXPECT_EQ(file.reading_text(), GetParam().reading);
  expect_faces(file, all);
}

std::vector<double> swapped(std::vector<double> numbers) {
  for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) std::swap(numbers[i], numbers[i + 1]);
  return numbers;
}

Landmarks right_first(const Landmarks& face) {
  return {face[1], face[0], face[2], face[4], face[3]};
}

INSTANTIATE_TEST_SUITE_P(
    Field, LandmarkForms,
    testing::Values(
        Form{"Plain", "NAME, X1 Y1 … X5 Y5", [](const auto& f, int) { return numbers_of(f); }},
        Form{"ScoreBehind", "NAME, X1 Y1 … X5 Y5, 1 other",
             [](const auto& f, int) { return joined(numbers_of(f), {0.98}); }},
        Form{"Label", "NAME, 1 other, X1 Y1 … X5 Y5",
             [](const auto& f, int i) { return joined({double(i / 4)}, numbers_of(f)); }},
        Form{"LargeLabel", "NAME, 1 other, X1 Y1 … X5 Y5",
             [](const auto& f, int i) { return joined({10000.0 + i}, numbers_of(f)); }},
        Form{"ScoreBefore", "NAME, 1 other, X1 Y1 … X5 Y5",
             [](const auto& f, int) { return joined({0.98}, numbers_of(f)); }},
        Form{"Box", "NAME, 4 others, X1 Y1 … X5 Y5",
             [](const auto& f, int) { return joined(box_of(f), numbers_of(f)); }},
        Form{"BoxAndScore", "NAME, 5 others, X1 Y1 … X5 Y5",
             [](const auto& f, int) { return joined(joined(box_of(f), {0.9}), numbers_of(f)); }},
        Form{"LabelBoxAndScore", "NAME, 6 others, X1 Y1 … X5 Y5",
             [](const auto& f, int i) {
               return joined({double(i)}, joined(joined(box_of(f), {0.9}), numbers_of(f)));
             }},
        Form{"BoxBehind", "NAME, X1 Y1 … X5 Y5, 4 others",
             [](const auto& f, int) { return joined(numbers_of(f), box_of(f)); }},
        Form{"Columns", "NAME, X1 … X5 Y1 … Y5", [](const auto& f, int) { return columns_of(f); }},
        Form{"LabelAndColumns", "NAME, 1 other, X1 … X5 Y1 … Y5",
             [](const auto& f, int i) { return joined({double(i)}, columns_of(f)); }},
        Form{"BoxAndColumnsAndScore", "NAME, 4 others, X1 … X5 Y1 … Y5, 1 other",
             [](const auto& f, int) { return joined(joined(box_of(f), columns_of(f)), {0.9}); }},
        Form{"RightFirst", "NAME, X1 Y1 … X5 Y5; the right eye first",
             [](const auto& f, int) { return numbers_of(right_first(f)); }},
        Form{"RowsBeforeColumns", "NAME, Y1 X1 … Y5 X5",
             [](const auto& f, int) { return swapped(numbers_of(f)); }},
        Form{"WithConfidences", "NAME, 4 others, X1 Y1 C1 … X5 Y5 C5",
             [](const auto& f, int) {
               std::vector<double> numbers = box_of(f);
               for (const Point& p : f) numbers = joined(numbers, {p.x, p.y, 0.9});
               return numbers;
             }},
        Form{"Fractions", "NAME, X1 Y1 … X5 Y5; in fractions of width and height",
             [](const auto& f, int) {
               std::vector<double> numbers;
               for (const Point& p : f)
                 numbers = joined(numbers, {p.x / kSize.width, p.y / kSize.height});
               return numbers;
             }},
        Form{"LabelAndFractions", "NAME, 1 other, X1 Y1 … X5 Y5; in fractions of width and height",
             [](const auto& f, int i) {
               std::vector<double> numbers = {double(i)};
               for (const Point& p : f)
                 numbers = joined(numbers, {p.x / kSize.width, p.y / kSize.height});
               return numbers;
             }},
        Form{"Of68", "NAME, 1 other, X1 Y1 … X68 Y68",
             [](const auto& f, int i) {
               std::vector<double> numbers = {double(i)};
               for (int k = 0; k < 68; ++k) {
                 Point p{f[2].x + 60 * std::cos(k / 5.0), f[2].y + 60 * std::sin(k / 5.0)};
                 if (k >= 36 && k < 48) {  // two rings of six around the eyes
                   p = f[k < 42 ? 0 : 1];
                   p.x += 4 * std::cos(k * std::acos(-1) / 3);
                   p.y += 3 * std::sin(k * std::acos(-1) / 3);
                 }
                 if (k == 30) p = f[2];
                 if (k == 48) p = f[3];
                 if (k == 54) p = f[4];
                 numbers = joined(numbers, {p.x, p.y});
               }
               return numbers;
             }}),
    [](const auto& tested) { return tested.param.name; });

TEST(LandmarkFile, TakesNamesAndNumbersHoweverTheyAreSeparated) {
  const Landmarks f = faces(1).front();
  const std::string spaces = list_of({f}, [](const auto& p, int) { return numbers_of(p); });
  const std::string points =
      spaces.substr(spaces.find(' ') + 1, spaces.find('\n') - spaces.find(' ') - 1);
  const auto with = [&](char separator) {
    std::string text = points;
    std::ranges::replace(text, ' ', separator);
    return text;
  };
  const auto expect_named = [&](const std::string& text, const std::string& name) {
    const auto found = parsed(text).find(name, kSize);
    ASSERT_TRUE(found) << text;
    EXPECT_NEAR(found->at(4).y, f[4].y, 1e-4) << text;
  };
  expect_named("# a comment\n \t\n" + spaces, "p0.jpg");
  expect_named("a b, c.jpg\t" + with('\t'), "a b, c.jpg");
  expect_named("a b.jpg\t" + points, "a b.jpg");
  expect_named("a b/1 2.jpg " + points, "a b/1 2.jpg");
  expect_named("a.jpg," + with(','), "a.jpg");
  expect_named("\"a, b.jpg\", " + with(','), "a, b.jpg");
  expect_named("  a.jpg   " + points + " \r\n", "a.jpg");
  expect_named("./a/b.jpg " + points, "a/b.jpg");
  expect_named("a\\b.jpg " + points, "a/b.jpg");
  expect_named("\xEF\xBB\xBFp.jpg " + points, "p.jpg");
  expect_named("1\ta/b.jpg\t7\t" + with('\t'), "a/b.jpg");  // like the common .lst files
  expect_named("0\t7\t" + with('\t') + "\ta/b.jpg", "a/b.jpg");
  expect_named("202599\nlefteye_x lefteye_y righteye_x\n000001.jpg " + points, "000001.jpg");
  expect_named("NAME_ID,P1X,P1Y\n\"n000002/0001_01\"," + with(','), "n000002/0001_01.jpg");
  expect_named("000001 " + points, "000001.png");
}

TEST(LandmarkFile, ReadsJsonHoweverItIsNested) {
  const TemporaryFolder folder;
  write_text(folder / "landmarks.json",
             " {\"a.jpg\": [[38,52],[74,52],[56,72],[42,92],[71,92.25]], \"b, c.jpg\": "
             "[[138,52],[174,52],[156,72],[142,92],[171,92]]}");
  const LandmarkFile file = LandmarkFile::open(folder / "landmarks.json");
  EXPECT_EQ(file.size(), 2);
  EXPECT_EQ(file.find("a.jpg", kSize)->at(4).y, 92.25);
  EXPECT_EQ(file.find("b, c.jpg", kSize)->at(4).x, 171);
  const std::string nested =
      "{\"a.jpg\": {\"bbox\": [18,30,94,120], \"det_score\": 0.9, \"kps\": "
      "[[38,52],[74,52],[56,72],[42,92],[71,92]]}}";
  EXPECT_EQ(parsed(nested).find("a.jpg", kSize)->at(4).x, 71);
}

TEST(LandmarkFile, KeepsTheOrderOfAListOfPicturesThatLieOnTheirSides) {
  auto all = faces(20);
  for (Landmarks& face : all)
    for (Point& p : face) p = {300 - p.y, p.x};
  expect_faces(parsed(list_of(all, [](const auto& f, int) { return numbers_of(f); })), all);
}

TEST(LandmarkFile, KeepsTheOrderOfAListOfProfiles) {
  std::vector<Landmarks> all = faces(20);
  for (Landmarks& face : all) {  // the eyes one behind the other, the nose before them
    const Point eyes{(face[0].x + face[1].x) / 2, face[0].y};
    face[0] = {eyes.x - 1, eyes.y}, face[1] = {eyes.x + 1, eyes.y};
    face[2].x = eyes.x + 20;
    face[3] = {eyes.x + 8, face[3].y}, face[4] = {eyes.x + 10, face[3].y};
  }
  expect_faces(parsed(list_of(all, [](const auto& f, int) { return numbers_of(f); })), all);
}

TEST(LandmarkFile, RefusesTheLinesWhosePointsLookLikeNoFace) {
  auto all = faces(20);
  const auto good = all;
  std::swap(all[7][0], all[7][4]);
  const std::string text = list_of(all, [](const auto& f, int) { return numbers_of(f); });
  const LandmarkFile file = parsed(text);
  EXPECT_TRUE(file.find("p6.jpg", kSize));
  EXPECT_THAT([&] { (void)file.find("p7.jpg", kSize); },
              ThrowsMessage<DataError>(testing::AllOf(HasSubstr("landmarks.txt: line 8: found"),
                                                      HasSubstr("do not look like a face"))));
}

TEST(LandmarkFile, IsRefusedByTheLineOrTheName) {
  const auto fails_with = [](const std::string& text, const std::string& sentence) {
    EXPECT_THAT([&] { parsed(text); }, ThrowsMessage<DataError>(HasSubstr(sentence))) << text;
  };
  const std::string points = " 38 52 74 52 56 72 42 92 71 92";
  fails_with("", "no landmarks");
  fails_with("# nothing\n", "no landmarks");
  fails_with("a.jpg 1 2 3 4 5 6 7 8 9\n", "line 1: found \"a.jpg 1 2 3");
  fails_with("a.jpg" + points + "\nb.jpg 1 2 x 4 5 6 7 8 9 10\n", "line 2: found");
  fails_with("a.jpg" + points + "\nb.jpg" + points + " 3\n",
             "line 2: found \"b.jpg 38 52 74 52 56 72 42 92 71 92 3\", with 11 numbers where line "
             "1 has 10");
  fails_with("a.jpg" + points + "\nb.jpg" + points + "\n./a.jpg" + points + "\n",
             "./a.jpg: listed twice, in lines 1 and 3");
  fails_with("a.jpg,38,52,74,52,,72,42,92,71,92\n", "line 1: found");
  // Counted from the bottom of the picture, or not the points of a face at all.
  fails_with("a.jpg 38 248 74 248 56 228 42 208 71 208\n", "line 1: found");
  fails_with("a.jpg 71 92 38 52 42 92 74 52 56 72\n", "do not look like the points of a face");
  fails_with("{\"a.jpg\": [[1,2],[3,4]]}", "a.jpg: found");
  fails_with("{\"a.jpg\": [[1,2],[3,4],[5,6],[7,8],[9,null]]}", "a.jpg: found");
  fails_with("{\"a.jpg\": ", "JSON: ");
  fails_with("{}", "no landmarks");
}

TEST(LandmarkFile, IsRefusedWhereJsonIsNestedWithoutEnd) {
  const std::string text =
      "{\"a.jpg\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  EXPECT_THROW(parsed(text), DataError);
}

TEST(LandmarkFile, ANameMayHaveACommaBetweenSpacesAndHeadingsAreTold) {
  const std::string text =
      "picture and points\n"
      "Smith, John.jpg 38.3 51.7 73.5 51.5 56.0 71.7 41.5 92.4 70.7 92.2\n"
      "b.jpg 38.3 51.7 73.5 51.5 56.0 71.7 41.5 92.4 70.7 92.2\n";
  const LandmarkFile file = parsed(text);
  EXPECT_EQ(file.size(), 2);
  EXPECT_TRUE(file.contains("Smith, John.jpg"));
  EXPECT_EQ(file.reading_text(), "NAME, X1 Y1 … X5 Y5; without the heading \"picture and points\"");
}

TEST(LandmarkFile, ReadsTheFieldsListOfRealPhotos) {
  if (std::getenv("PFC_FACES") == nullptr)
    GTEST_SKIP() << "PFC_FACES does not name the folder of real faces";
  const LandmarkFile file =
      LandmarkFile::open(std::filesystem::path(std::getenv("PFC_FACES")) / "align/landmarks.txt");
  EXPECT_EQ(file.size(), 20);
  EXPECT_EQ(file.reading_text(), "NAME, X1 Y1 … X5 Y5, 6 others");  // a matrix
}

}  // namespace
}  // namespace pfc
