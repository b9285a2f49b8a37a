#pragma once

#include <string>
#include <vector>

namespace pfc {

struct ChartPoint {
  double x = 0, y = 0;
};

/// A staircase: from one point to the next it goes right, then up or down.
struct ChartCurve {
  std::string name;
  std::vector<ChartPoint> points;      ///< x ascending, within the axes
  std::vector<ChartPoint> marks = {};  ///< drawn as dots
};

struct ChartAxis {
  std::string label;
  double from = 0, to = 1;
  bool logarithmic = false;  ///< requires from > 0
  bool percent = false;      ///< 1 is written as 100 %
  int steps = 5;             ///< between labels, if the axis is not logarithmic
};

struct Chart {
  std::string title, note = {};
  ChartAxis x, y;
  std::vector<ChartCurve> curves;
};

/// Where an axis of rates begins if its smallest rate is `least`. Good networks differ only in the
/// last per cents.
double rate_axis_start(double least);

/// Where an axis may end: the smallest of 1, 2 and 5 times a power of ten that is not below `value`
/// > 0.
double round_axis_end(double value);

/// A self-contained SVG: axes, curves, and a legend below them. Colour-blind readers can tell the
/// colours apart. Steps too small to be seen are left out.
std::string chart_svg(const Chart& chart);

}  // namespace pfc
