#include "train/meter.h"

#include "pfc/base/format.h"

namespace pfc {

void Meter::add(const StepResult& result, std::int64_t images) {
  loss_ += result.loss;
  images_ += images;
  ++steps_;
}

TrainMetrics Meter::report(double seconds_waited) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  TrainMetrics metrics;
  metrics.loss = loss_ / static_cast<double>(steps_);
  metrics.images_per_second = static_cast<double>(images_) / seconds;
  metrics.data_wait = (seconds_waited - waited_) / seconds;
  *this = Meter();
  waited_ = seconds_waited;
  return metrics;
}

void TrafficMeter::add(const TrafficByCollective& before, const TrafficByCollective& after) {
  for (std::size_t i = 0; i < total_.size(); ++i) {
    total_[i].calls += after[i].calls - before[i].calls;
    total_[i].bytes += after[i].bytes - before[i].bytes;
  }
  ++steps_;
}

std::string TrafficMeter::text() const {
  std::string lines = "sent by a rank in a step, as a ring sends it:";
  for (const Collective collective : kCollectives) {
    const Traffic& traffic = total_[static_cast<std::size_t>(collective)];
    if (traffic.bytes == 0) continue;
    const std::string name(name_of(collective));
    const std::int64_t calls = traffic.calls / steps_;
    lines += "\n  " +
             format("%-15s %16s bytes in ", name.c_str(), grouped(traffic.bytes / steps_).c_str()) +
             counted(calls, "call");
  }
  return lines;
}

}  // namespace pfc
