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
  bool logarithmic = false;  ///< from > 0 then
  bool percent = false;      ///< 1 is written as 100 %
  int steps = 5;             ///< between labels, where it is not logarithmic
};

struct Chart {
  std::string title, note = {};
  ChartAxis x, y;
  std::vector<ChartCurve> curves;
};

/// Where an axis of rates begins whose least one is `least`: good networks live in the last per
/// cents.
double rate_axis_start(double least);

/// The least of 1, 2 and 5 times a power of ten that is not below `value` > 0: where an axis may
/// end.
double round_axis_end(double value);

/// A self-contained SVG: axes, curves, and below them a legend. Colours are told apart by
/// colour-blind readers, too; steps too small to be seen are left out.
std::string chart_svg(const Chart& chart);

}  // namespace pfc
