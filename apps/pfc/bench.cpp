#include <ATen/Parallel.h>

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "pfc/base/format.h"
#include "pfc/train/benchmark.h"

namespace pfc {
namespace {

struct BenchCommand {
  HeadBenchmarkOptions head;
  std::vector<double> rates = {1.0, 0.1};
  std::string table = "float32";
  int threads = 0;
};

std::string gigabytes(std::int64_t bytes) {
  return format("%.2f GB", static_cast<double>(bytes) / 1e9);
}

void run_bench(BenchCommand command) {
  if (command.threads > 0) at::set_num_threads(command.threads);
  CenterTableOptions& table = command.head.head.table;
  table.weights = table.state = number_type(command.table);
  const auto comm = make_self_communicator();
  std::cout
      << "The head alone: " << grouped(command.head.identities) << " identities, embeddings of "
      << table.dim << ", " << command.table << " tables, CosFace, SGD with momentum, "
      << at::get_num_threads() << " threads\n\n"
      << "method           ranks   batch   centres a step    s/step   samples/s      memory   "
         "of it the table\n"
      << std::flush;
  for (const double rate : command.rates) {
    command.head.sample_rate = rate;
    const HeadBenchmarkResult result = benchmark_head(command.head, *comm);
    const std::string method = rate < 1 ? format("Partial FC %g", rate) : "model parallel";
    std::cout << format("%-15s %6d %7lld %16s %9.3f %11.0f %11s %17s\n", method.c_str(),
                        comm->world(), static_cast<long long>(command.head.batch_size),
                        grouped(result.centers).c_str(), result.seconds,
                        static_cast<double>(command.head.batch_size) / result.seconds,
                        gigabytes(result.memory_bytes).c_str(),
                        gigabytes(result.table_bytes).c_str())
              << std::flush;
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "Measure steps of the head at a given number of identities");
  const auto options = std::make_shared<BenchCommand>();
  command->add_option("--identities", options->head.identities, "Class centres")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--rates", options->rates, "Sample rates; 1 is the model-parallel softmax")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--batch", options->head.batch_size, "Samples a step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--dim", options->head.head.table.dim, "Length of an embedding")
      ->check(CLI::Range(1, 8192))
      ->capture_default_str();
  command
      ->add_option("--table", options->table, "How centres and their optimizer's state are stored")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  command->add_option("--steps", options->head.steps, "Steps to take the median of")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Threads; all cores by default")
      ->check(CLI::Range(1, 1024));
  command->footer(
      "Example:\n"
      "  pfc bench --identities 1000000 --rates 1.0 0.1\n"
      "  pfc bench --identities 10000000 --rates 0.1 --table bfloat16\n"
      "Memory is the process's largest; the table is 4 KiB an identity at 512 dimensions in "
      "float32,\n"
      "2 KiB in bfloat16, whatever the rate.");
  command->callback([options] { run_bench(*options); });
}

}  // namespace pfc
