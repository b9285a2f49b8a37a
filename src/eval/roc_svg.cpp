#include "pfc/eval/roc_svg.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "pfc/base/format.h"

namespace pfc {
namespace {

// Pixels, from the top left.
constexpr double kWidth = 860, kLeft = 84, kRight = 828, kTop = 84, kBottom = 484;
constexpr double kTable = 580, kRow = 26;

constexpr std::array kFars = {1e-4, 1e-3, 1e-2, 1e-1};
constexpr std::array kFarNames = {"10⁻⁴", "10⁻³", "10⁻²", "10⁻¹"};
constexpr std::array kFarColumns = {520.0, 596.0, 672.0, 748.0};  // right edges
constexpr double kEerColumn = kRight;

/// Told apart by colour-blind readers too (after Okabe and Ito), dark enough for thin lines.
constexpr std::array kColours = {"#0072b2", "#d55e00", "#009e73", "#b8579b",
                                 "#c58a00", "#3a9bd9", "#6b4fa0", "#444444"};
constexpr std::array kDashes = {"none", "7 4", "2 3"};  // once the colours are used up

struct Style {
  const char *colour, *dash;
};

Style style(std::size_t curve) {
  return {kColours[curve % kColours.size()], kDashes[curve / kColours.size() % kDashes.size()]};
}

/// Text as XML takes it, cut to so many characters.
std::string escaped(std::string_view text, int most) {
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

std::string text(double x, double y, const char* classes, const std::string& content) {
  return format("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, classes,
                content.c_str());
}

std::string line(double x1, double y1, double x2, double y2, const char* classes) {
  return format("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1,
                x2, y2, classes);
}

/// The smallest FAR that a curve can tell from none.
double finest_far(const Roc& roc) {
  return 1.0 / static_cast<double>(roc.impostors());
}

/// Maps rates to pixels.
class Axes {
 public:
  explicit Axes(std::span<const RocCurve> curves) {
    double least_tar = 1;
    for (const RocCurve& curve : curves) {
      least_far_ = std::min({least_far_, finest_far(curve.roc), 0.1});
      least_tar = std::min(least_tar, curve.roc.at(finest_far(curve.roc)).tar);
    }
    // Good networks live in the last per cents: the axis starts where the lowest curve lets it.
    for (const double start : {0.5, 0.8, 0.9, 0.95, 0.98}) {
      if (start <= least_tar) least_tar_ = start;
    }
  }

  double least_far() const { return least_far_; }
  double least_tar() const { return least_tar_; }
  double x(double far) const {
    return kRight - (kRight - kLeft) * std::log10(far) / std::log10(least_far_);
  }
  double y(double tar) const {
    return kBottom - (kBottom - kTop) * (tar - least_tar_) / (1 - least_tar_);
  }

 private:
  double least_far_ = 1, least_tar_ = 0;
};

std::string power_of_ten(int exponent) {
  constexpr std::array kDigits = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  if (exponent == 0) return "1";
  std::string name = "10⁻";
  for (const char digit : std::to_string(-exponent)) {
    name += kDigits[static_cast<std::size_t>(digit - '0')];
  }
  return name;
}

std::string far_axis(const Axes& axes) {
  std::string svg;
  const int lowest = static_cast<int>(std::floor(std::log10(axes.least_far())));
  for (int exponent = lowest; exponent <= 0; ++exponent) {
    const double decade = std::pow(10, exponent);
    if (decade >= axes.least_far() * (1 - 1e-9)) {
      svg += line(axes.x(decade), kTop, axes.x(decade), kBottom, "grid");
      svg += text(axes.x(decade), kBottom + 22, "tick middle", power_of_ten(exponent));
    }
    for (int i = 2; i < 10 && exponent < 0; ++i) {
      if (i * decade <= axes.least_far()) continue;
      svg += line(axes.x(i * decade), kTop, axes.x(i * decade), kBottom, "fine");
    }
  }
  svg += text((kLeft + kRight) / 2, kBottom + 46, "axis middle", "False accept rate");
  return svg;
}

std::string tar_axis(const Axes& axes) {
  constexpr int kSteps = 5;
  std::string svg;
  for (int i = 0; i <= kSteps; ++i) {
    const double tar = axes.least_tar() + (1 - axes.least_tar()) * i / kSteps;
    svg += line(kLeft, axes.y(tar), kRight, axes.y(tar), "grid");
    svg += text(kLeft - 10, axes.y(tar) + 4.5, "tick end", format("%.4g %%", 100 * tar));
  }
  const double middle = (kTop + kBottom) / 2;
  svg += format(
      "<text transform=\"translate(24 %.1f) rotate(-90)\" class=\"axis middle\">"
      "True accept rate</text>\n",
      middle);
  return svg;
}

/// The largest TAR that each FAR allows, which is a staircase.
std::string curve_path(const Roc& roc, const Axes& axes, const Style& style) {
  double x = axes.x(finest_far(roc)), y = axes.y(roc.at(finest_far(roc)).tar);
  std::string path = format("M%.1f %.1f", x, y);
  for (const RocPoint& point : roc.points()) {
    const double next_x = axes.x(roc.far(point)), next_y = axes.y(roc.tar(point));
    if (next_x < x || next_y > y) continue;  // left of where the curve starts
    // Steps below half a pixel are not seen, but there may be millions.
    const bool seen = next_x - x + y - next_y >= 0.5 || point.false_accepts == roc.impostors();
    if (seen) path += format("H%.1fV%.1f", x = next_x, y = next_y);
  }
  return format("<path d=\"%s\" class=\"curve\" stroke=\"%s\" stroke-dasharray=\"%s\"/>\n",
                path.c_str(), style.colour, style.dash);
}

std::string marks(const Roc& roc, const Axes& axes, const Style& style) {
  std::string svg;
  for (const double far : kFars) {
    const OperatingPoint point = roc.at(far);
    if (!point.resolved) continue;
    svg += format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" class=\"mark\" fill=\"%s\"/>\n",
                  axes.x(far), axes.y(point.tar), style.colour);
  }
  return svg;
}

std::string table_head() {
  std::string svg = text(kLeft, kTable, "head", "TAR (%) at a FAR of");
  for (std::size_t i = 0; i < kFars.size(); ++i) {
    svg += text(kFarColumns[i], kTable, "head end", kFarNames[i]);
  }
  svg += text(kEerColumn, kTable, "head end", "EER (%)");
  return svg + line(kLeft, kTable + 9, kRight, kTable + 9, "rule");
}

std::string table_row(const RocCurve& curve, double y, const Style& style) {
  std::string svg = format(
      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"curve\" "
      "stroke=\"%s\" stroke-dasharray=\"%s\"/>\n",
      kLeft, y - 4.5, kLeft + 26, y - 4.5, style.colour, style.dash);
  svg += text(kLeft + 36, y, "cell", escaped(curve.name, 40));
  for (std::size_t i = 0; i < kFars.size(); ++i) {
    const OperatingPoint point = curve.roc.at(kFars[i]);
    svg +=
        text(kFarColumns[i], y, "cell end", point.resolved ? format("%.2f", 100 * point.tar) : "–");
  }
  return svg + text(kEerColumn, y, "cell end", format("%.2f", 100 * curve.roc.equal_error_rate()));
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

std::string roc_svg(std::string_view title, std::span<const RocCurve> curves) {
  assert(!curves.empty());
  const Axes axes(curves);
  const double height = kTable + kRow * static_cast<double>(curves.size()) + 52;

  std::string svg = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
      kWidth, height, kWidth, height);
  svg += "<title>" + escaped(title, 60) + "</title>\n";
  svg += kStyleSheet;
  svg += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  svg += text(kLeft, 40, "title", escaped(title, 60));
  svg += text(kLeft, 62, "note",
              "The share of genuine pairs accepted, over the share of impostor pairs accepted");
  svg += far_axis(axes) + tar_axis(axes);
  svg += format("<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"frame\"/>\n",
                kLeft, kTop, kRight - kLeft, kBottom - kTop);
  for (std::size_t i = 0; i < curves.size(); ++i) svg += curve_path(curves[i].roc, axes, style(i));
  for (std::size_t i = 0; i < curves.size(); ++i) svg += marks(curves[i].roc, axes, style(i));
  svg += table_head();
  for (std::size_t i = 0; i < curves.size(); ++i) {
    svg += table_row(curves[i], kTable + kRow * static_cast<double>(i + 1) + 6, style(i));
  }
  const bool all_resolved = std::ranges::all_of(
      curves, [](const RocCurve& curve) { return curve.roc.at(kFars.front()).resolved; });
  if (!all_resolved) {
    svg += text(kLeft, height - 18, "note", "–: fewer impostor pairs than 1 / FAR");
  }
  return svg + "</svg>\n";
}

}  // namespace pfc
