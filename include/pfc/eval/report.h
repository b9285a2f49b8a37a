#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pfc/data/image_codec.h"
#include "pfc/eval/chart.h"

namespace pfc {

/// What stands in a table: what a person reads, and the number behind it where it is one.
struct ReportCell {
  std::string text;
  std::optional<double> value = {};

  static ReportCell count(std::int64_t n);
  /// 0.97345 is `97.35`; the number behind it is the rate.
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

/// Two images that were hard to tell apart, or to recognise as one person.
struct ReportPair {
  std::string caption;
  RgbImage first, second;
};

struct ReportPictures {
  std::string title;
  std::vector<ReportPair> pairs;
};

/// What an evaluation found.
struct Report {
  std::string title, subtitle;
  std::vector<ReportTable> tables = {};
  std::vector<Chart> charts = {};
  std::vector<ReportPictures> pictures = {};
};

/// The tables for a terminal.
std::string to_text(const Report& report);
/// `{"title": …, "tables": [{"title": …, "rows": [{COLUMN: value, …}, …]}, …]}`: numbers as they
/// are, whatever the text rounds.
std::string to_json(const Report& report);
/// One page without anything outside it: tables, charts as SVG, pictures.
std::string to_html(const Report& report);

}  // namespace pfc
