// Measures the seconds to save class centres with their momentum and to load them. Compares with
// `dd` with fsync for as many bytes on the same disk. Also measures the memory that saving and
// loading take beyond the table.
//
//   checkpoint_bench [--identities N] [--table float32|bfloat16] [--folder FOLDER] [--rounds N]
//
// dd and our code take turns at being first; the ratio is the median of the rounds' ratios.

#include <ATen/Functions.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "median.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/head/center_file.h"

namespace {

using namespace pfc;
namespace fs = std::filesystem;

constexpr std::int64_t kDim = 512;

struct Options {
  std::int64_t identities = 1'000'000;
  std::string table = "float32";
  fs::path folder = ".";
  int rounds = 6;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// How much more memory than before is resident at most during `work`.
std::int64_t memory_of(const std::function<void()>& work) {
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  work();
  return peak_memory() - before;
}

void dd(const fs::path& path, std::uint64_t bytes) {
  const std::string command =
      format("dd if=/dev/zero of='%s' bs=8M count=%llu iflag=count_bytes conv=fsync status=none",
             path.c_str(), static_cast<unsigned long long>(bytes));
  if (std::system(command.c_str()) != 0) throw Error("dd failed");
}

void run(const Options& options) {
  const ClassShard shard(options.identities, 0, 1);
  const NumberType type = *value_named<NumberType>(options.table);
  CenterTable table(shard,
                    {.dim = kDim, .optimizer = {.momentum = 0.9}, .weights = type, .state = type});
  table.part("momentum").fill_(1e-3);  // memory that was never written would cost nothing
  const fs::path saved = options.folder / "checkpoint_bench.safetensors",
                 written = options.folder / "checkpoint_bench.dd";
  std::printf("%lld identities of %lld, %s with momentum: %.2f GB\n",
              static_cast<long long>(options.identities), static_cast<long long>(kDim),
              options.table.c_str(), static_cast<double>(table.bytes()) * 1e-9);
  std::printf("%6s %8s %8s %8s %12s %12s %12s\n", "round", "dd s", "save s", "load s", "save / dd",
              "save +MiB", "load +MiB");
  std::vector<double> ratios;
  for (int round = 0; round < options.rounds; ++round) {
    double by_dd = 0, saving = 0, loading = 0;
    std::int64_t to_save = 0, to_load = 0;
    const auto run_dd = [&] {
      by_dd = seconds_of([&] { dd(written, static_cast<std::uint64_t>(table.bytes())); });
      fs::remove(written);
    };
    const auto run_ours = [&] {
      Checksums sums;
      to_save =
          memory_of([&] { saving = seconds_of([&] { sums = save_centers(table, {}, saved); }); });
      to_load = memory_of([&] {
        loading = seconds_of(
            [&] { load_centers(table, 0, 1, [&](int) { return CheckedFile(saved, sums); }); });
      });
      fs::remove(saved);
    };
    // In turns, because the second one finds memory that the first one's file has just freed.
    if (round % 2 == 0) run_dd();
    run_ours();
    if (round % 2 == 1) run_dd();
    ratios.push_back(saving / by_dd);
    std::printf("%6d %8.2f %8.2f %8.2f %12.2f %12.1f %12.1f\n", round, by_dd, saving, loading,
                ratios.back(), static_cast<double>(to_save) / (1 << 20),
                static_cast<double>(to_load) / (1 << 20));
    std::fflush(stdout);
  }
  std::printf("saving takes %.2f times what dd takes (median)\n", median(ratios));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Saving and loading class centres, beside dd");
  Options options;
  app.add_option("--identities", options.identities)->capture_default_str();
  app.add_option("--table", options.table)
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--folder", options.folder, "On the disk to measure")->capture_default_str();
  app.add_option("--rounds", options.rounds)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "checkpoint_bench: %s\n", error.what());
    return 1;
  }
}
