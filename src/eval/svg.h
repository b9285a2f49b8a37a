#pragma once

#include <string>
#include <string_view>

#include "pfc/eval/chart.h"

namespace pfc {

/// The place of the plot in a chart, in pixels from the top left.
inline constexpr double kChartWidth = 860, kPlotLeft = 84, kPlotRight = 828, kPlotTop = 84,
                        kPlotBottom = 484, kLegendTop = 580, kLegendRow = 26;

/// Text escaped for XML, cut to `most` characters.
std::string xml_escaped(std::string_view text, int most = 200);
std::string svg_text(double x, double y, const char* classes, const std::string& content);
std::string svg_line(double x1, double y1, double x2, double y2, const char* classes);
/// A short piece of a curve's line, for a legend.
std::string svg_line_of(std::size_t curve, double x, double y);
/// `10⁻⁴`.
std::string power_of_ten(int exponent);
/// Begins an SVG with the title, the axes and the curves. The caller adds what stands below, down
/// to `height`, and the closing tag.
std::string svg_chart_begin(const Chart& chart, double height);

}  // namespace pfc
