#include "pfc/train/metrics.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "pfc/base/error.h"

namespace pfc {

MetricsFile::MetricsFile(std::filesystem::path path)
    : path_(std::move(path)), out_(path_, std::ios::trunc) {
  if (!out_) throw Error(path_.string() + ": cannot be written");
}

void MetricsFile::write_line(const std::string& line) {
  out_ << line << std::endl;
  if (!out_) throw Error(path_.string() + ": cannot be written (is the disk full?)");
}

void MetricsFile::write(const TrainMetrics& metrics) {
  const nlohmann::ordered_json line = {{"step", metrics.step},
                                       {"epoch", metrics.epoch},
                                       {"loss", metrics.loss},
                                       {"lr", metrics.lr},
                                       {"gradient_norm", metrics.gradient_norm},
                                       {"images_per_second", metrics.images_per_second},
                                       {"data_wait", metrics.data_wait},
                                       {"corrupt", metrics.corrupt}};
  write_line(line.dump());
}

void MetricsFile::write(std::int64_t step, const VerificationResult& result) {
  nlohmann::ordered_json line = {{"step", step},
                                 {"set", result.set},
                                 {"accuracy", result.accuracy},
                                 {"accuracy_deviation", result.accuracy_deviation},
                                 {"best_threshold", result.best_threshold},
                                 {"xnorm", result.xnorm}};
  for (const OperatingPoint& point : result.operating_points) {
    line["tar"].push_back({{"far", point.wanted_far}, {"tar", point.tar}});
  }
  write_line(line.dump());
}

}  // namespace pfc
