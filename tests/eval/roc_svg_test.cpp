#include "pfc/eval/roc_svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::Not;

/// `pairs` of each kind. Every genuine pair except the first `mixed` ones scores above all
/// impostors.
Roc curve(int pairs, int mixed) {
  std::vector<double> scores;
  std::vector<std::uint8_t> same;
  for (int i = 0; i < pairs; ++i) {
    scores.insert(scores.end(), {i < mixed ? i - 0.5 : pairs + i, static_cast<double>(i)});
    same.insert(same.end(), {1, 0});
  }
  return Roc(scores, same);
}

std::string draw(const Roc& roc, std::string_view name = "set", std::string_view title = "ROC") {
  const RocCurve one{name, roc};
  return roc_svg(title, std::span(&one, 1));
}

int count(std::string_view text, std::string_view part) {
  int times = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++times;
  return times;
}

TEST(RocSvg, MarksOnlyOperatingPointsThatTheImpostorsResolve) {
  EXPECT_EQ(count(draw(curve(100, 50)), "class=\"mark\""), 2);
  EXPECT_EQ(count(draw(curve(10'000, 50)), "class=\"mark\""), 4);
}

TEST(RocSvg, SaysWhichFiguresAreMissing) {
  EXPECT_THAT(draw(curve(100, 50)), HasSubstr("fewer impostor pairs than 1 / FAR"));
  EXPECT_THAT(draw(curve(10'000, 50)), Not(HasSubstr("fewer impostor pairs")));
}

TEST(RocSvg, TheTableHoldsTheFigures) {
  const Roc roc = curve(100, 50);  // half of the genuine pairs score highest
  EXPECT_THAT(draw(roc), HasSubstr(">50.00</text>"));
}

TEST(RocSvg, NamesAreEscapedAndCut) {
  const std::string svg = draw(curve(20, 5), "a < b & c > d", "<script>\n");
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c &gt; d"));
  EXPECT_THAT(svg, HasSubstr("<title>&lt;script&gt;</title>"));
  EXPECT_THAT(draw(curve(20, 5), std::string(100, 'x')),
              HasSubstr(">" + std::string(40, 'x') + "…<"));
}

TEST(RocSvg, TheAxisStartsWhereTheLowestCurveLetsIt) {
  EXPECT_THAT(draw(curve(1000, 10)), HasSubstr(">98 %<"));
  EXPECT_THAT(draw(curve(1000, 990)), HasSubstr(">0 %<"));
}

TEST(RocSvg, EveryCurveHasALineInThePlotAndOneInTheLegend) {
  const Roc roc = curve(20, 5);
  const std::vector<RocCurve> curves(10, RocCurve{"set", roc});
  EXPECT_EQ(count(roc_svg("ROC", curves), "class=\"curve\""), 20);
}

TEST(RocSvg, SizeDoesNotGrowWithThePairs) {
  EXPECT_LT(draw(curve(200'000, 190'000)).size(), 100'000u);
}

void expect_rises_in_the_plot(const Roc& roc) {
  const std::string svg = draw(roc);
  double x = 84, y = 484;
  int steps = 0;
  const char* at = svg.c_str() + svg.find("d=\"M") + 4;
  for (double next_x, next_y; (at = std::strpbrk(at, "H\"")) && *at == 'H'; ++steps) {
    int read = 0;
    ASSERT_EQ(std::sscanf(at, "H%lfV%lf%n", &next_x, &next_y, &read), 2);
    at += read;
    EXPECT_GE(next_x, x);
    EXPECT_LE(next_y, y);
    x = next_x, y = next_y;
  }
  EXPECT_GT(steps, 10);
  EXPECT_EQ(x, 828);
  EXPECT_EQ(y, 84);
}

TEST(RocSvg, ACurveNeverFallsNorLeavesThePlot) {
  expect_rises_in_the_plot(curve(3000, 2000));
}

TEST(RocSvg, ACurveWhoseBestScoreIsAnImpostorsNeitherFallsNorLeavesThePlot) {
  std::vector<double> scores = {
      1000};  // then half of the genuine pairs, and then both kinds alternately
  std::vector<std::uint8_t> same = {0};
  for (int i = 0; i < 400; ++i) {
    scores.push_back(999 - i);
    same.push_back(i < 200 || i % 2 == 0);
  }
  expect_rises_in_the_plot(Roc(scores, same));
}

}  // namespace
}  // namespace pfc
