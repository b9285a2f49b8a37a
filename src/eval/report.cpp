#include "pfc/eval/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "eval/text_table.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson json_of(const ReportCell& cell) {
  if (!cell.value)
    return cell.text == ReportCell::none().text ? OrderedJson() : OrderedJson(cell.text);
  const double value = *cell.value;
  if (value == std::trunc(value) && std::abs(value) < 1e15) return static_cast<std::int64_t>(value);
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson();
}

}  // namespace

ReportCell ReportCell::count(std::int64_t n) {
  return {grouped(n), static_cast<double>(n)};
}

ReportCell ReportCell::percent(double rate) {
  return {format("%.2f", 100 * rate), rate};
}

ReportCell ReportCell::number(double value, const char* how) {
  return {format(how, value), value};
}

ReportCell ReportCell::none() {
  return {"–"};
}

std::string to_text(const Report& report) {
  std::string text;
  for (const ReportTable& table : report.tables) {
    std::vector<std::vector<std::string>> rows = {table.columns};
    for (const auto& cells : table.rows) {
      auto& row = rows.emplace_back();
      for (const ReportCell& cell : cells) row.push_back(cell.text);
    }
    text += (text.empty() ? "" : "\n") + table.title + "\n" + text_table(rows);
    for (const std::string& note : table.notes) text += note + "\n";
  }
  return text;
}

std::string to_json(const Report& report) {
  OrderedJson tables = OrderedJson::array();
  for (const ReportTable& table : report.tables) {
    OrderedJson rows = OrderedJson::array();
    for (const auto& cells : table.rows) {
      OrderedJson row;
      for (std::size_t i = 0; i < cells.size(); ++i) row[table.columns[i]] = json_of(cells[i]);
      rows.push_back(std::move(row));
    }
    tables.push_back({{"title", table.title}, {"rows", rows}, {"notes", table.notes}});
  }
  const OrderedJson json = {
      {"title", report.title}, {"subtitle", report.subtitle}, {"tables", std::move(tables)}};
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace pfc
