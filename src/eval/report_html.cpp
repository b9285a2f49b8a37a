#include <openssl/evp.h>

#include "eval/svg.h"
#include "pfc/base/format.h"
#include "pfc/eval/report.h"

namespace pfc {
namespace {

constexpr const char* kStyle = R"(<style>
:root { color-scheme: light; --ink: #1b1f24; --soft: #5b6470; --line: #dfe3e8; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f5f7; color: var(--ink);
  font: 16px/1.5 system-ui, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 16px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 12px; }
.subtitle { color: var(--soft); margin: 0 0 24px; overflow-wrap: anywhere; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
  padding: 20px; margin: 0 0 20px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; min-width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: 14px; }
tbody tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.note { color: var(--soft); font-size: 14px; margin: 8px 0 0; }
svg { display: block; width: 100%; min-width: 600px; height: auto; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; }
figure { margin: 0; }
.faces { display: flex; gap: 4px; }
.faces img { width: 112px; height: auto; border-radius: 4px; }
figcaption { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
</style>
)";

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : xml_escaped(text, 1000))
    safe += c == '"' ? std::string("&quot;") : std::string(1, c);
  return safe;
}

std::string html_of(const ReportTable& table) {
  std::string html =
      "<section><h2>" + escaped(table.title) + "</h2>\n<div class=\"wide\"><table><thead><tr>";
  for (const std::string& column : table.columns) html += "<th>" + escaped(column) + "</th>";
  html += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (const ReportCell& cell : row) html += "<td>" + escaped(cell.text) + "</td>";
    html += "</tr>\n";
  }
  html += "</tbody></table></div>\n";
  for (const std::string& note : table.notes)
    html += "<p class=\"note\">" + escaped(note) + "</p>\n";
  return html + "</section>\n";
}

std::string base64(std::span<const std::byte> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string html_of(const RgbImage& image) {
  constexpr int kThumbnailQuality = 90;
  return format("<img width=\"%d\" height=\"%d\" alt=\"\" src=\"data:image/jpeg;base64,",
                image.width, image.height) +
         base64(encode_jpeg(image, kThumbnailQuality)) + "\">";
}

std::string html_of(const ReportPictures& pictures) {
  std::string html = "<section><h2>" + escaped(pictures.title) + "</h2>\n<div class=\"pairs\">\n";
  for (const ReportPair& pair : pictures.pairs) {
    html += "<figure><div class=\"faces\">" + html_of(pair.first) + html_of(pair.second) +
            "</div><figcaption>" + escaped(pair.caption) + "</figcaption></figure>\n";
  }
  return html + "</div></section>\n";
}

}  // namespace

std::string to_html(const Report& report) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
      escaped(report.title) + "</title>\n" + kStyle + "</head><body><main>\n<h1>" +
      escaped(report.title) + "</h1>\n<p class=\"subtitle\">" + escaped(report.subtitle) + "</p>\n";
  for (const ReportTable& table : report.tables) html += html_of(table);
  for (const Chart& chart : report.charts)
    html += "<section><div class=\"wide\">" + chart_svg(chart) + "</div></section>\n";
  for (const ReportPictures& pictures : report.pictures)
    if (!pictures.pairs.empty()) html += html_of(pictures);
  return html + "</main></body></html>\n";
}

}  // namespace pfc
