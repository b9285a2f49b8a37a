#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pfc/data/image_codec.h"
#include "pfc/eval/chart.h"

namespace pfc {

/// A cell of a table: the text that a person reads, and the number behind it if it is one.
struct ReportCell {
  std::string text;
  std::optional<double> value = {};

  static ReportCell count(std::int64_t n);
  /// 0.97345 is shown as `97.35`; the number behind it is the rate.
  static ReportCell percent(double rate);
  static ReportCell number(double value, const char* how = "%.4f");
  static ReportCell none();  ///< `–`
};

struct ReportTable {
  std::string title;
  std::vector<std::string> columns;  ///< the first one names the row
  std::vector<std::vector<ReportCell>> rows = {};
  std::vector<std::string> notes = {};
};

/// Two images of a hard pair: different people who look alike, or one person who looks different.
struct ReportPair {
  std::string caption;
  RgbImage first, second;
};

struct ReportPictures {
  std::string title;
  std::vector<ReportPair> pairs;
};

/// The results of an evaluation.
struct Report {
  std::string title, subtitle;
  std::vector<ReportTable> tables = {};
  std::vector<Chart> charts = {};
  std::vector<ReportPictures> pictures = {};
};

/// The tables, for a terminal.
std::string to_text(const Report& report);
/// `{"title": …, "tables": [{"title": …, "rows": [{COLUMN: value, …}, …]}, …]}`. Numbers are not
/// rounded, even if the text is.
std::string to_json(const Report& report);
/// A single page that needs no other file: tables, charts as SVG, pictures.
std::string to_html(const Report& report);

}  // namespace pfc
