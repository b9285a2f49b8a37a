#include <algorithm>
#include <nlohmann/json.hpp>

#include "pfc/base/format.h"
#include "pfc/eval/verification.h"

namespace pfc {
namespace {

/// Columns a terminal gives to UTF-8 text (one a character, which holds for what is printed here).
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<std::string> cells(const VerificationResult& result) {
  std::vector<std::string> row = {
      result.set,
      std::to_string(result.pairs()),
      format("%.2f ± %.2f", 100 * result.accuracy, 100 * result.accuracy_deviation),
      format("%.2f", result.best_threshold),
      format("%.2f", result.xnorm),
      format("%.2f ± %.2f", 100 * result.val, 100 * result.val_deviation),
  };
  for (const OperatingPoint& point : result.operating_points) {
    row.push_back(format("%.2f%s", 100 * point.tar, point.resolved ? "" : "*"));
  }
  row.push_back(format("%.2f", 100 * result.equal_error_rate));
  row.push_back(format("%.4f", result.area));
  return row;
}

}  // namespace

std::string to_text(std::span<const VerificationResult> results) {
  std::vector<std::vector<std::string>> rows = {{"set", "pairs", "accuracy %", "threshold", "XNorm",
                                                 "VAL %", "TAR % @1e-1", "@1e-2", "@1e-3", "@1e-4",
                                                 "EER %", "AUC"}};
  bool resolved = true;
  for (const VerificationResult& result : results) {
    rows.push_back(cells(result));
    for (const OperatingPoint& point : result.operating_points) resolved &= point.resolved;
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t widest = 0;
      for (const auto& each : rows) widest = std::max(widest, width(each[column]));
      const std::string padding(widest - width(row[column]), ' ');
      text +=
          (column == 0 ? "" : "  ") + (column == 0 ? row[column] + padding : padding + row[column]);
    }
    text += '\n';
  }
  text += "threshold: squared distance with the best accuracy over all pairs; VAL: at FAR 1e-3\n";
  if (!resolved) text += "*: fewer impostor pairs than 1/FAR, so without any false accept\n";
  return text;
}

std::string to_json(std::span<const VerificationResult> results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const VerificationResult& result : results) {
    nlohmann::ordered_json points = nlohmann::ordered_json::array();
    for (const OperatingPoint& point : result.operating_points) {
      points.push_back({{"far", point.wanted_far},
                        {"tar", point.tar},
                        {"measured_far", point.far},
                        {"distance", -point.threshold},  // null where nothing is accepted
                        {"resolved", point.resolved}});
    }
    list.push_back({{"set", result.set},
                    {"pairs", result.pairs()},
                    {"genuine_pairs", result.roc.genuine()},
                    {"impostor_pairs", result.roc.impostors()},
                    {"accuracy", result.accuracy},
                    {"accuracy_deviation", result.accuracy_deviation},
                    {"fold_accuracies", result.fold_accuracies},
                    {"best_threshold", result.best_threshold},
                    {"xnorm", result.xnorm},
                    {"val",
                     {{"far", 1e-3},
                      {"tar", result.val},
                      {"deviation", result.val_deviation},
                      {"measured_far", result.val_far}}},
                    {"tar_at_far", points},
                    {"equal_error_rate", result.equal_error_rate},
                    {"area_under_curve", result.area}});
  }
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace pfc
