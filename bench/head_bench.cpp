// Measures steps of the head alone, compared with two ways of writing it in plain LibTorch, and
// with the time that this machine's arithmetic and memory allow at best. Every measurement has a
// process of its own, and the ways take turns.
//
//   head_bench                                      the standard cases
//   head_bench --fixed                              100,000 centres a step of ever more identities
//   head_bench --losses                             every loss beside CosFace
//   head_bench --identities 1000000 --rate 0.1      one case; --help tells the rest
//
// A step draws its classes and gives the loss, the gradient of the embeddings, and the updated
// centres.
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "head_ways.h"
#include "median.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/head/loss.h"
#include "pfc/train/machine_ceilings.h"
#include "run_self.h"

namespace pfc {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HeadMeasurement, seconds, bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MachineCeilings, flops_per_second, bytes_per_second)

namespace {

using nlohmann::json;

struct Options {
  HeadCase one;  ///< the case, if only one is run or measured
  bool fixed = false, losses = false;
  int rounds = 3;
  std::int64_t steps = 5;
  int threads = at::get_num_threads();
  std::string json_file;
  std::string way;  ///< of `measure`
};

/// A case and the ways that it is compared with.
struct Contest {
  HeadCase head;
  std::vector<std::string> rivals;
};

/// The results of a contest's rounds. Ratios are taken within a round, where measurements follow
/// each other closely, and then the median: a machine that others use is slow for some minutes and
/// fast for others.
struct Outcome {
  std::map<std::string, std::vector<double>>
      seconds;                        ///< seconds of a step in each round, for the ways that fit
  std::vector<double> floor_seconds;  ///< a step at the round's best rates, without any waste
  double bytes_per_identity = 0;      ///< of ours

  bool fits(const std::string& way) const { return seconds.contains(way); }
  std::optional<double> step_seconds() const {
    if (!fits("ours")) return std::nullopt;
    return median(seconds.at("ours"));
  }
  /// How many times as long as our head a way takes.
  std::optional<double> speedup(const std::string& way) const {
    if (!fits("ours") || !fits(way)) return std::nullopt;
    return median_ratio(seconds.at(way), seconds.at("ours"));
  }
  std::optional<double> floor_share() const {
    if (!fits("ours")) return std::nullopt;
    return median_ratio(floor_seconds, seconds.at("ours"));
  }

 private:
  static double median_ratio(std::vector<double> of, const std::vector<double>& to) {
    for (std::size_t round = 0; round < of.size(); ++round) of[round] /= to[round];
    return median(std::move(of));
  }
};

std::vector<Contest> standard_contests() {
  const std::vector<std::string> baselines = {"dense", "gather"};
  return {{{100'000, 0.1, 128}, baselines},
          {{1'000'000, 0.1, 128}, baselines},
          {{1'000'000, 0.1, 1024}, baselines},
          {{1'000'000, 1.0, 128}, baselines},
          {{1'000'000, 0.1, 128, "bfloat16"}, {"plain"}},
          {{1'000'000, 0.1, 128, "float32", "dense_equivalent"}, {"plain"}}};
}

/// A step's cost must not grow with the number of identities.
std::vector<Contest> fixed_contests() {
  std::vector<Contest> contests;
  for (const std::int64_t identities : {1'000'000, 3'000'000, 10'000'000}) {
    contests.push_back({{identities, 1e5 / static_cast<double>(identities), 128, "bfloat16"}, {}});
  }
  return contests;
}

/// What each loss costs beside CosFace.
std::vector<Contest> loss_contests() {
  std::vector<Contest> contests;
  for (const std::string_view loss : loss_names()) {
    HeadCase c{.identities = 100'000};
    c.loss = loss;
    contests.push_back({c, {"plain"}});
  }
  return contests;
}

Contest one_contest(const HeadCase& c) {
  if (c.table == "float32" && c.update == "sampled" && c.loss == "cosface")
    return {c, {"dense", "gather"}};
  return {c, {"dense", "gather", "plain"}};
}

std::string described(const HeadCase& c) {
  return format("%s identities, rate %g, batch %lld, %s, %s, %s", grouped(c.identities).c_str(),
                c.rate, static_cast<long long>(c.batch), c.table.c_str(), c.update.c_str(),
                c.loss.c_str());
}

/// Nothing if it does not fit.
std::optional<json> measure_apart(const HeadCase& c, const std::string& way,
                                  const Options& options) {
  if (way != "floor" && least_bytes(c, way) > static_cast<double>(available_memory()))
    return std::nullopt;
  const auto printed =
      run_self({"measure", "--way", way, "--identities", std::to_string(c.identities), "--rate",
                format("%.17g", c.rate), "--batch", std::to_string(c.batch), "--table", c.table,
                "--update", c.update, "--loss", c.loss, "--steps", std::to_string(options.steps),
                "--threads", std::to_string(options.threads)});
  if (!printed) return std::nullopt;
  return json::parse(*printed);
}

/// As counted in design.md: 6·B·S·d operations; for every sampled row three reads or writes of the
/// row (gathered, then read and written by the update), and two of its momentum.
double floor_seconds(const HeadCase& c, const MachineCeilings& ceilings) {
  const double elements = static_cast<double>(centers_a_step(c) * kHeadDim);
  return 6 * static_cast<double>(c.batch) * elements / ceilings.flops_per_second +
         5 * elements * static_cast<double>(element_bytes(c)) / ceilings.bytes_per_second;
}

Outcome run(const Contest& contest, const Options& options) {
  std::vector<std::string> ways = {"floor", "ours"};
  ways.insert(ways.end(), contest.rivals.begin(), contest.rivals.end());
  Outcome outcome;
  std::vector<double> bytes;
  for (int round = 1; round <= options.rounds; ++round) {
    for (const std::string& way : ways) {
      if (round > 1 && way != "floor" && !outcome.fits(way)) continue;
      std::fprintf(stderr, "%s: round %d of %d, %s\n", described(contest.head).c_str(), round,
                   options.rounds, way.c_str());
      const std::optional<json> answer = measure_apart(contest.head, way, options);
      if (!answer) {
        outcome.seconds.erase(way);
      } else if (way == "floor") {
        outcome.floor_seconds.push_back(floor_seconds(contest.head, *answer));
      } else {
        const HeadMeasurement found = *answer;
        outcome.seconds[way].push_back(found.seconds);
        if (way == "ours") bytes.push_back(static_cast<double>(found.bytes));
      }
    }
  }
  if (outcome.fits("ours")) {
    outcome.bytes_per_identity =
        median(std::move(bytes)) / static_cast<double>(contest.head.identities);
  }
  return outcome;
}

void print_header(const Options& options) {
  std::printf(
      "The head alone: embeddings of %lld, SGD with momentum, %d threads.\n"
      "dense, gather, plain: how many times as long a step takes in plain LibTorch, in its two\n"
      "ways, and in ours with float32, sampled and cosface; floor: the share of our step that the "
      "machine's\n"
      "own best rates would leave.\n\n"
      "identities   rate  batch  table     update            loss                     s/step       "
      "  dense"
      "        gather         plain  floor  bytes an identity\n",
      static_cast<long long>(kHeadDim), options.threads);
}

std::string ratio_cell(const Contest& contest, const Outcome& outcome, const std::string& way) {
  if (std::ranges::find(contest.rivals, way) == contest.rivals.end()) return "-";
  if (!outcome.fits(way)) return "does not fit";
  const std::optional<double> speedup = outcome.speedup(way);
  return speedup ? format("%.2f", *speedup) : "-";
}

void print_row(const Contest& contest, const Outcome& outcome) {
  const HeadCase& c = contest.head;
  const bool fits = outcome.fits("ours");
  std::printf("%10s  %5.3g  %5lld  %-8s  %-16s  %-18s  %12s  %12s  %12s  %12s  %5s  %17s\n",
              grouped(c.identities).c_str(), c.rate, static_cast<long long>(c.batch),
              c.table.c_str(), c.update.c_str(), c.loss.c_str(),
              fits ? format("%.4f", *outcome.step_seconds()).c_str() : "does not fit",
              ratio_cell(contest, outcome, "dense").c_str(),
              ratio_cell(contest, outcome, "gather").c_str(),
              ratio_cell(contest, outcome, "plain").c_str(),
              fits ? format("%.0f %%", 100 * *outcome.floor_share()).c_str() : "-",
              fits ? format("%.0f", outcome.bytes_per_identity).c_str() : "-");
  std::fflush(stdout);
}

json or_null(std::optional<double> value) {
  return value ? json(*value) : json();
}

/// Null: it did not fit, or was not run.
json json_line(const Contest& contest, const Outcome& outcome, const Options& options) {
  const HeadCase& c = contest.head;
  const std::optional<double> dense = outcome.speedup("dense"), gather = outcome.speedup("gather");
  std::optional<double> bytes;
  if (outcome.fits("ours")) bytes = outcome.bytes_per_identity;
  return {{"identities", c.identities},
          {"rate", c.rate},
          {"batch", c.batch},
          {"table", c.table},
          {"update", c.update},
          {"loss", c.loss},
          {"threads", options.threads},
          {"seconds", or_null(outcome.step_seconds())},
          {"speedup", or_null(dense && gather ? std::min(dense, gather)
                              : dense         ? dense
                                              : gather)},
          {"speedup_dense", or_null(dense)},
          {"speedup_gather", or_null(gather)},
          {"speedup_plain", or_null(outcome.speedup("plain"))},
          {"floor_seconds", median(outcome.floor_seconds)},
          {"floor_share", or_null(outcome.floor_share())},
          {"bytes_per_identity", or_null(bytes)}};
}

void run_contests(const std::vector<Contest>& contests, const Options& options) {
  std::ofstream lines;
  if (!options.json_file.empty()) {
    lines.open(options.json_file, std::ios::app);
    if (!lines) throw Error(options.json_file + ": cannot write");
  }
  print_header(options);
  for (const Contest& contest : contests) {
    const Outcome outcome = run(contest, options);
    print_row(contest, outcome);
    lines << json_line(contest, outcome, options).dump() << '\n' << std::flush;
  }
}

/// Runs in a process started by `measure_apart`.
void measure(const Options& options) {
  // If memory runs out, the system should end this process and no other.
  std::ofstream("/proc/self/oom_score_adj") << "1000";
  const json answer = options.way == "floor"
                          ? json(measure_ceilings(options.one.batch, kHeadDim))
                          : json(measure_head(options.one, options.way, options.steps));
  std::printf("%s\n", answer.dump().c_str());
}

CLI::Option* add_case(CLI::App& app, Options& options) {
  CLI::Option* identities =
      app.add_option("--identities", options.one.identities, "Class centres: runs this case only")
          ->check(CLI::PositiveNumber);
  app.add_option("--rate", options.one.rate, "Share of the centres that a step uses")
      ->check(CLI::Range(0.0, 1.0))
      ->needs(identities)
      ->capture_default_str();
  app.add_option("--batch", options.one.batch, "Samples a step")
      ->check(CLI::Range(1, 1 << 20))
      ->needs(identities)
      ->capture_default_str();
  app.add_option("--table", options.one.table, "Numbers that the tables are of")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->needs(identities)
      ->capture_default_str();
  app.add_option("--update", options.one.update, "What happens to centres that are not sampled")
      ->check(CLI::IsMember({"sampled", "dense_equivalent"}))
      ->needs(identities)
      ->capture_default_str();
  app.add_option("--loss", options.one.loss, "The loss, with its usual settings and m = 0.4")
      ->check(CLI::IsMember(loss_names()))
      ->needs(identities)
      ->capture_default_str();
  app.add_option("--steps", options.steps, "Steps to take the median of")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Threads; all cores by default")
      ->check(CLI::Range(1, 1024));
  return identities;
}

int bench(int argc, char** argv) {
  Options options;
  CLI::App app("Measures steps of the head beside plain LibTorch.", "head_bench");
  CLI::Option* one = add_case(app, options);
  app.add_option("--rounds", options.rounds, "Processes of each way, in turn")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--fixed", options.fixed, "100,000 centres a step of 1, 3 and 10 million identities")
      ->excludes(one);
  app.add_flag("--losses", options.losses, "Every loss, beside CosFace, with 100,000 identities")
      ->excludes(one);
  app.add_option("--json", options.json_file, "Adds a line for every case to this file");
  CLI::App* child = app.add_subcommand("measure", "One way of one case, in this process");
  child->group("");  // for this program itself
  add_case(*child, options);
  child->add_option("--way", options.way)->required();
  CLI11_PARSE(app, argc, argv);

  at::set_num_threads(options.threads);
  if (*child) {
    measure(options);
  } else if (*one) {
    run_contests({one_contest(options.one)}, options);
  } else {
    run_contests(options.fixed    ? fixed_contests()
                 : options.losses ? loss_contests()
                                  : standard_contests(),
                 options);
  }
  return 0;
}

}  // namespace
}  // namespace pfc

int main(int argc, char** argv) {
  try {
    return pfc::bench(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "head_bench: %s\n", error.what());
    return 1;
  }
}
