#include "pfc/train/metrics.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {

MetricsLog::MetricsLog(const std::filesystem::path& folder)
    : path_(folder / "metrics.jsonl"), out_(path_, std::ios::trunc), events_(folder) {
  if (!out_) throw Error(path_.string() + ": cannot be written");
}

void MetricsLog::write_line(const std::string& line) {
  out_ << line << std::endl;
  if (!out_) throw Error(path_.string() + ": cannot be written (is the disk full?)");
}

void MetricsLog::write(const TrainMetrics& metrics) {
  const nlohmann::ordered_json line = {{"step", metrics.step},
                                       {"epoch", metrics.epoch},
                                       {"loss", metrics.loss},
                                       {"lr", metrics.lr},
                                       {"gradient_norm", metrics.gradient_norm},
                                       {"images_per_second", metrics.images_per_second},
                                       {"data_wait", metrics.data_wait},
                                       {"corrupt", metrics.corrupt}};
  write_line(line.dump());
  for (const auto& [name, value] : line.items()) {
    if (name != "step") events_.add_scalar(metrics.step, "train/" + name, value);
  }
}

void MetricsLog::write(std::int64_t step, const VerificationResult& result) {
  nlohmann::ordered_json line = {{"step", step},
                                 {"set", result.set},
                                 {"accuracy", result.accuracy},
                                 {"accuracy_deviation", result.accuracy_deviation},
                                 {"best_threshold", result.best_threshold},
                                 {"xnorm", result.xnorm}};
  const std::string tag = "eval/" + result.set + "/";
  events_.add_scalar(step, tag + "accuracy", result.accuracy);
  for (const OperatingPoint& point : result.operating_points) {
    line["tar"].push_back({{"far", point.wanted_far}, {"tar", point.tar}});
    events_.add_scalar(step, tag + format("tar_at_far_%.0e", point.wanted_far), point.tar);
  }
  write_line(line.dump());
}

}  // namespace pfc
