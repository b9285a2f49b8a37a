#pragma once

#include <cstdint>
#include <string>

namespace pfc {

constexpr std::int64_t kHeadDim = 512;

/// A head to be measured: CosFace with m = 0.4 and s = 64, SGD with momentum.
struct HeadCase {
  std::int64_t identities = 1'000'000;
  double rate = 0.1;
  std::int64_t batch = 128;
  std::string table = "float32", rule = "sampled";
};

/// How a step is made: "ours"; "plain", which is ours with float32 tables and sampled updates;
/// "dense" and "gather", the baselines, which know nothing else.
struct HeadMeasurement {
  double seconds = 0;      ///< a step with the drawing of its classes, the median
  std::int64_t bytes = 0;  ///< the most memory resident, above that of the process without a head
};

/// Steps on random unit embeddings and random labels, after one that is not measured. The head
/// goes with the process: this is for a process that measures nothing else.
HeadMeasurement measure_head(const HeadCase& c, const std::string& way, std::int64_t steps);

/// Of the table and the momentum in a case's own head.
std::int64_t element_bytes(const HeadCase& c);
/// What a way holds at once without fail, in bytes: where that is more than the machine has, it
/// need not be tried.
double least_bytes(const HeadCase& c, const std::string& way);
/// Class centres that a step uses.
std::int64_t centers_a_step(const HeadCase& c);

}  // namespace pfc
