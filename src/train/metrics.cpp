#include "pfc/train/metrics.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/paths.h"

namespace pfc {

namespace {

/// The lines of an earlier part of the run that stay valid if it continues after `step`. A line
/// that a crash cut off is not valid.
std::string lines_until(std::int64_t step, const std::filesystem::path& path) {
  std::string kept;
  if (step == 0 || !is_there(path)) return kept;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) continue;
    const auto of = json["step"].get<std::int64_t>();
    if (of < step || (of == step && !json.contains("set"))) kept += line + "\n";
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& folder, std::int64_t step)
    : path_(folder / "metrics.jsonl"), events_(folder) {
  write_file(path_, lines_until(step, path_));
  out_.open(path_, std::ios::app);
  if (step > 0) events_.add_restart(step + 1);
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
                                       {"sample_rate", metrics.sample_rate},
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

void MetricsLog::write(std::int64_t step, const SavedCheckpoint& saved) {
  const nlohmann::ordered_json line = {
      {"step", step}, {"checkpoint_seconds", saved.seconds}, {"checkpoint_bytes", saved.bytes}};
  write_line(line.dump());
  events_.add_scalar(step, "checkpoint/seconds", saved.seconds);
}

}  // namespace pfc
