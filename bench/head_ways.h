#pragma once

#include <cstdint>
#include <string>

namespace pfc {

constexpr std::int64_t kHeadDim = 512;

/// A head to be measured: s = 64, m = 0.4, SGD with momentum.
struct HeadCase {
  std::int64_t identities = 1'000'000;
  double rate = 0.1;
  std::int64_t batch = 128;
  std::string table = "float32", update = "sampled", loss = "cosface";
};

/// A way of making a step: "ours"; "plain", which is ours with float32 tables, sampled updates and
/// CosFace; "dense" and "gather", the baselines, which have no other settings.
struct HeadMeasurement {
  double seconds = 0;      ///< seconds of a step including the drawing of its classes, the median
  std::int64_t bytes = 0;  ///< the most resident memory, minus that of the process without a head
};

/// Steps on random unit embeddings and random labels, after one step that is not measured. The head
/// lives until the process ends, so use a process that measures nothing else.
HeadMeasurement measure_head(const HeadCase& c, const std::string& way, std::int64_t steps);

/// Bytes for each number of the table and the momentum in a case's own head.
std::int64_t element_bytes(const HeadCase& c);
/// The bytes that a way certainly holds at once. If the machine has less, it need not be tried.
double least_bytes(const HeadCase& c, const std::string& way);
/// Class centres that a step uses.
std::int64_t centers_a_step(const HeadCase& c);

}  // namespace pfc
