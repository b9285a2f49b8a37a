#include <algorithm>
#include <array>
#include <cmath>

#include "base/ceil_divide.h"
#include "eval/svg.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

/// Colours that colour-blind readers can tell apart (after Okabe and Ito), dark enough for thin
/// lines.
constexpr std::array kColours = {"#0072b2", "#d55e00", "#009e73", "#b8579b",
                                 "#c58a00", "#3a9bd9", "#6b4fa0", "#444444"};
constexpr std::array kDashes = {"none", "7 4", "2 3"};  // when the colours are used up

struct Style {
  const char *colour, *dash;
};

Style style(std::size_t curve) {
  return {kColours[curve % kColours.size()], kDashes[curve / kColours.size() % kDashes.size()]};
}

/// Maps an axis to pixels.
class Scale {
 public:
  Scale(const ChartAxis& axis, double begin, double end) : axis_(axis), begin_(begin), end_(end) {}

  double operator()(double value) const {
    const double part = axis_.logarithmic
                            ? std::log(value / axis_.from) / std::log(axis_.to / axis_.from)
                            : (value - axis_.from) / (axis_.to - axis_.from);
    return begin_ + (end_ - begin_) * part;
  }

 private:
  const ChartAxis& axis_;
  double begin_, end_;
};

std::string tick_text(const ChartAxis& axis, double value) {
  if (axis.percent) return format("%.4g %%", 100 * value);
  return std::abs(value) >= 10'000 ? grouped(std::llround(value)) : format("%.4g", value);
}

std::string logarithmic_ticks(const ChartAxis& axis, const Scale& x) {
  std::string svg;
  const int lowest = static_cast<int>(std::floor(std::log10(axis.from)));
  const int highest = static_cast<int>(std::ceil(std::log10(axis.to)));
  const auto inside = [&](double value) {
    return value >= axis.from * (1 - 1e-9) && value <= axis.to * (1 + 1e-9);
  };
  for (int exponent = lowest; exponent <= highest; ++exponent) {
    const double decade = std::pow(10, exponent);
    if (inside(decade)) {
      svg += svg_line(x(decade), kPlotTop, x(decade), kPlotBottom, "grid");
      svg += svg_text(x(decade), kPlotBottom + 22, "tick middle",
                      exponent > 0 ? grouped(std::llround(decade)) : power_of_ten(exponent));
    }
    for (int i = 2; i < 10; ++i) {
      if (inside(i * decade))
        svg += svg_line(x(i * decade), kPlotTop, x(i * decade), kPlotBottom, "fine");
    }
  }
  return svg;
}

double step(const ChartAxis& axis, int i) {
  return axis.from + (axis.to - axis.from) * i / axis.steps;
}

std::string x_axis(const ChartAxis& axis, const Scale& x) {
  std::string svg;
  if (axis.logarithmic) {
    svg = logarithmic_ticks(axis, x);
  } else {
    for (int i = 0; i <= axis.steps; ++i) {
      const double value = step(axis, i);
      svg += svg_line(x(value), kPlotTop, x(value), kPlotBottom, "grid");
      svg += svg_text(x(value), kPlotBottom + 22, "tick middle", tick_text(axis, value));
    }
  }
  return svg + svg_text((kPlotLeft + kPlotRight) / 2, kPlotBottom + 46, "axis middle",
                        xml_escaped(axis.label));
}

std::string y_axis(const ChartAxis& axis, const Scale& y) {
  std::string svg;
  for (int i = 0; i <= axis.steps; ++i) {
    const double value = step(axis, i);
    svg += svg_line(kPlotLeft, y(value), kPlotRight, y(value), "grid");
    svg += svg_text(kPlotLeft - 10, y(value) + 4.5, "tick end", tick_text(axis, value));
  }
  const double middle = (kPlotTop + kPlotBottom) / 2;
  return svg + format(
                   "<text transform=\"translate(24 %.1f) rotate(-90)\" class=\"axis middle\">"
                   "%s</text>\n",
                   middle, xml_escaped(axis.label).c_str());
}

std::string curve_path(const ChartCurve& curve, const Scale& to_x, const Scale& to_y, Style style) {
  if (curve.points.empty()) return "";
  double x = to_x(curve.points.front().x), y = to_y(curve.points.front().y);
  std::string path = format("M%.1f %.1f", x, y);
  for (std::size_t i = 1; i < curve.points.size(); ++i) {
    const double next_x = to_x(curve.points[i].x), next_y = to_y(curve.points[i].y);
    // Steps below half a pixel cannot be seen, and there may be millions.
    const bool seen = next_x - x + std::abs(next_y - y) >= 0.5 || i + 1 == curve.points.size();
    if (seen) path += format("H%.1fV%.1f", x = next_x, y = next_y);
  }
  return format("<path d=\"%s\" class=\"curve\" stroke=\"%s\" stroke-dasharray=\"%s\"/>\n",
                path.c_str(), style.colour, style.dash);
}

std::string marks(const ChartCurve& curve, const Scale& x, const Scale& y, Style style) {
  std::string svg;
  for (const ChartPoint& mark : curve.marks) {
    svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" class=\"mark\" fill=\"%s\"/>\n",
                  x(mark.x), y(mark.y), style.colour);
  }
  return svg;
}

constexpr const char* kStyleSheet =
    "<style>\n"
    "text { font-family: 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; "
    "font-size: 13px; fill: #333; }\n"
    ".title { font-size: 20px; font-weight: 600; fill: #111; }\n"
    ".note, .tick { fill: #666; }\n"
    ".axis { font-size: 14px; }\n"
    ".head { fill: #666; }\n"
    ".cell { font-size: 14px; font-variant-numeric: tabular-nums; }\n"
    ".middle { text-anchor: middle; }\n"
    ".end { text-anchor: end; }\n"
    ".grid { stroke: #d9dce1; }\n"
    ".fine { stroke: #f0f1f4; }\n"
    ".rule { stroke: #b5bac2; }\n"
    ".frame { fill: none; stroke: #8a9099; }\n"
    ".curve { fill: none; stroke-width: 2.4; stroke-linejoin: round; }\n"
    ".mark { stroke: #fff; stroke-width: 1.5; }\n"
    "</style>\n";

}  // namespace

std::string xml_escaped(std::string_view text, int most) {
  std::string safe;
  int characters = 0;
  for (const char c : text) {
    const bool starts_a_character = (c & 0xC0) != 0x80;
    if (starts_a_character && ++characters > most) return safe + "…";
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (static_cast<unsigned char>(c) >= 0x20)
      safe += c;
  }
  return safe;
}

std::string svg_text(double x, double y, const char* classes, const std::string& content) {
  return format("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, classes,
                content.c_str());
}

std::string svg_line(double x1, double y1, double x2, double y2, const char* classes) {
  return format("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1,
                x2, y2, classes);
}

std::string power_of_ten(int exponent) {
  constexpr std::array kDigits = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  if (exponent == 0) return "1";
  std::string name = "10⁻";
  for (const char digit : std::to_string(-exponent)) {
    name += kDigits[static_cast<std::size_t>(digit - '0')];
  }
  return name;
}

std::string svg_line_of(std::size_t curve, double x, double y) {
  return format(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"curve\" "
      "stroke=\"%s\" stroke-dasharray=\"%s\"/>\n",
      x, y, x + 26, y, style(curve).colour, style(curve).dash);
}

std::string svg_chart_begin(const Chart& chart, double height) {
  const Scale x(chart.x, kPlotLeft, kPlotRight), y(chart.y, kPlotBottom, kPlotTop);
  std::string svg = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
      kChartWidth, height, kChartWidth, height);
  svg += "<title>" + xml_escaped(chart.title, 60) + "</title>\n";
  svg += kStyleSheet;
  svg += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  svg += svg_text(kPlotLeft, 40, "title", xml_escaped(chart.title, 60));
  svg += svg_text(kPlotLeft, 62, "note", xml_escaped(chart.note));
  svg += x_axis(chart.x, x) + y_axis(chart.y, y);
  svg += format("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"frame\"/>\n",
                kPlotLeft, kPlotTop, kPlotRight - kPlotLeft, kPlotBottom - kPlotTop);
  for (std::size_t i = 0; i < chart.curves.size(); ++i)
    svg += curve_path(chart.curves[i], x, y, style(i));
  for (std::size_t i = 0; i < chart.curves.size(); ++i)
    svg += marks(chart.curves[i], x, y, style(i));
  return svg;
}

double round_axis_end(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double times : {1.0, 2.0, 5.0}) {
    if (value <= times * power) return times * power;
  }
  return 10 * power;
}

double rate_axis_start(double least) {
  double begin = 0;
  for (const double start : {0.5, 0.8, 0.9, 0.95, 0.98}) {
    if (start <= least) begin = start;
  }
  return begin;
}

std::string chart_svg(const Chart& chart) {
  constexpr std::size_t kColumns = 3;
  constexpr double kColumn = (kPlotRight - kPlotLeft) / kColumns;
  const std::size_t rows = ceil_divide(chart.curves.size(), kColumns);
  std::string svg = svg_chart_begin(chart, kLegendTop + kLegendRow * static_cast<double>(rows));
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    const double x = kPlotLeft + kColumn * static_cast<double>(i % kColumns);
    const std::size_t row = i / kColumns;
    const double y = kLegendTop + kLegendRow * static_cast<double>(row);
    svg += svg_line_of(i, x, y - 4.5);
    svg += svg_text(x + 36, y, "cell", xml_escaped(chart.curves[i].name, 28));
  }
  return svg + "</svg>\n";
}

}  // namespace pfc
