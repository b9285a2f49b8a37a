#include <nlohmann/json.hpp>

#include "pfc/eval/verification.h"

namespace pfc {
namespace {

nlohmann::ordered_json json_of(const RejectCurve& curve) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const RejectPoint& point : curve.rows()) {
    points.push_back({{"images_rejected", point.images},
                      {"shortest_left", point.length},
                      {"genuine_pairs", point.genuine},
                      {"impostor_pairs", point.impostors},
                      {"fnmr", point.fnmr()},
                      {"far", point.far()}});
  }
  return {{"far", curve.at.wanted_far},
          {"distance", -curve.at.threshold},  // null if nothing is accepted
          {"resolved", curve.at.resolved},
          {"points", std::move(points)}};
}

}  // namespace

std::string to_json(std::span<const VerificationResult> results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const VerificationResult& result : results) {
    nlohmann::ordered_json points = nlohmann::ordered_json::array();
    for (const OperatingPoint& point : result.operating_points) {
      points.push_back({{"far", point.wanted_far},
                        {"tar", point.tar},
                        {"measured_far", point.far},
                        {"distance", -point.threshold},  // null if nothing is accepted
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
    if (result.reject) list.back()["reject"] = json_of(*result.reject);
  }
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace pfc
