#include "pfc/eval/roc_svg.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "eval/svg.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr std::array kFars = {1e-4, 1e-3, 1e-2, 1e-1};
constexpr std::array kFarColumns = {520.0, 596.0, 672.0, 748.0};  // right edges
constexpr double kEerColumn = kPlotRight;

/// The smallest FAR above zero that a curve can have.
double finest_far(const Roc& roc) {
  return 1.0 / static_cast<double>(roc.impostors());
}

/// The largest TAR for each FAR.
ChartCurve drawn(const RocCurve& curve) {
  const Roc& roc = curve.roc;
  ChartCurve line{std::string(curve.name), {{finest_far(roc), roc.at(finest_far(roc)).tar}}};
  const auto points = roc.points();
  for (std::size_t i = 0; i < points.size(); ++i) {
    const bool has_more =
        i + 1 < points.size() && points[i + 1].false_accepts == points[i].false_accepts;
    if (points[i].false_accepts > 0 && !has_more)
      line.points.push_back({roc.far(points[i]), roc.tar(points[i])});
  }
  for (const double far : kFars) {
    const OperatingPoint point = roc.at(far);
    if (point.resolved) line.marks.push_back({far, point.tar});
  }
  return line;
}

std::string table_head() {
  std::string svg = svg_text(kPlotLeft, kLegendTop, "head", "TAR (%) at a FAR of");
  for (std::size_t i = 0; i < kFars.size(); ++i) {
    svg += svg_text(kFarColumns[i], kLegendTop, "head end", power_of_ten(static_cast<int>(i) - 4));
  }
  svg += svg_text(kEerColumn, kLegendTop, "head end", "EER (%)");
  return svg + svg_line(kPlotLeft, kLegendTop + 9, kPlotRight, kLegendTop + 9, "rule");
}

std::string table_row(const RocCurve& curve, std::size_t number) {
  const double y = kLegendTop + kLegendRow * static_cast<double>(number + 1) + 6;
  std::string svg = svg_line_of(number, kPlotLeft, y - 4.5);
  svg += svg_text(kPlotLeft + 36, y, "cell", xml_escaped(curve.name, 40));
  for (std::size_t i = 0; i < kFars.size(); ++i) {
    const OperatingPoint point = curve.roc.at(kFars[i]);
    svg += svg_text(kFarColumns[i], y, "cell end",
                    point.resolved ? format("%.2f", 100 * point.tar) : "–");
  }
  return svg +
         svg_text(kEerColumn, y, "cell end", format("%.2f", 100 * curve.roc.equal_error_rate()));
}

}  // namespace

Chart roc_chart(std::string_view title, std::span<const RocCurve> curves) {
  assert(!curves.empty());
  Chart chart{
      .title = std::string(title),
      .note = "The share of genuine pairs accepted, over the share of impostor pairs accepted",
      .x = {.label = "False accept rate", .from = 0.1, .to = 1, .logarithmic = true},
      .y = {.label = "True accept rate", .from = 0, .to = 1, .percent = true},
      .curves = {}};
  double least_tar = 1;
  for (const RocCurve& curve : curves) {
    chart.x.from = std::min(chart.x.from, finest_far(curve.roc));
    least_tar = std::min(least_tar, curve.roc.at(finest_far(curve.roc)).tar);
    chart.curves.push_back(drawn(curve));
  }
  chart.y.from = rate_axis_start(least_tar);
  return chart;
}

std::string roc_svg(std::string_view title, std::span<const RocCurve> curves) {
  const double height = kLegendTop + kLegendRow * static_cast<double>(curves.size()) + 52;
  std::string svg = svg_chart_begin(roc_chart(title, curves), height) + table_head();
  for (std::size_t i = 0; i < curves.size(); ++i) svg += table_row(curves[i], i);
  const bool all_resolved = std::ranges::all_of(
      curves, [](const RocCurve& curve) { return curve.roc.at(kFars.front()).resolved; });
  if (!all_resolved) {
    svg += svg_text(kPlotLeft, height - 18, "note", "–: fewer impostor pairs than 1 / FAR");
  }
  return svg + "</svg>\n";
}

}  // namespace pfc
