#include <ATen/Parallel.h>

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "choice_option.h"
#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/join_ranks.h"
#include "pfc/comm/placement.h"
#include "pfc/model/backbone.h"
#include "pfc/plan/step_plan.h"
#include "pfc/train/benchmark.h"
#include "pfc/train/config.h"

namespace pfc {
namespace {

struct BenchCommand {
  BenchmarkOptions run;
  std::vector<double> rates = {1.0, 0.1};
  std::vector<std::int64_t> batches = {128};
  NumberType table = NumberType::kFloat32;
  UseGpus device = UseGpus::kWhereThereAre;
  CenterMemory center_memory = CenterMemory::kDevice;
  int threads = 0;
};

std::string computed_on(const Communicator& comm) {
  if (comm.device().is_cuda()) return gpu_properties(comm.device().index()).name;
  return counted(at::get_num_threads(), "thread") + " a rank";
}

void print_head_of_table(const BenchCommand& command, const Communicator& comm) {
  const std::string what =
      command.run.network.empty() ? "The head alone" : "Training of " + command.run.network;
  std::cout << what << ": " << counted(command.run.identities, "identity") << ", embeddings of "
            << command.run.head.table.dim << ", " << name_of(command.table)
            << " tables, CosFace, SGD with momentum, " << name_of(command.run.sampling)
            << " sampling, " << computed_on(comm) << ", no input and output\n\n"
            << "method           ranks   batch   centres a step    s/step   images/s   "
            << (command.run.head.table.in_host_memory
                    ? "the GPU's memory   the host's for the table"
                    : "memory a rank   of it the table")
            << "\n"
            << std::flush;
}

void print_line(const BenchCommand& command, const BenchmarkResult& result, int ranks) {
  const auto batch = static_cast<double>(command.run.batch_size);
  const double rate = command.run.sample_rate;
  const std::string method = rate < 1 ? format("Partial FC %g", rate) : "model parallel";
  const bool apart =
      command.run.head.table.in_host_memory;  // with the widths of the headings above
  std::cout << format("%-15s %6d %7lld %16s %9.3f %10.1f %*s %*s\n", method.c_str(), ranks,
                      static_cast<long long>(command.run.batch_size),
                      grouped(result.centers).c_str(), result.seconds, batch / result.seconds,
                      apart ? 18 : 15, size_text(result.memory_bytes).c_str(), apart ? 25 : 17,
                      size_text(result.table_bytes).c_str())
            << std::flush;
}

void run_bench(BenchCommand command) {
  if (!command.run.network.empty()) keep_freed_memory();
  if (command.batches.size() != 1 && command.batches.size() != command.rates.size())
    throw UsageError("--batch wants one size, or one for each of --rates");
  const auto comm = join_ranks(find_launch(), command.device);
  set_threads(command.threads, place_ranks(*comm));
  CenterTableOptions& table = command.run.head.table;
  table.weights = table.state = command.table;
  table.in_host_memory = comm->device().is_cuda() && command.center_memory == CenterMemory::kHost;
  for (const std::int64_t batch : command.batches) require_whole_batch(batch, comm->world(), 1);
  if (comm->is_first()) print_head_of_table(command, *comm);
  for (std::size_t i = 0; i < command.rates.size(); ++i) {
    command.run.sample_rate = command.rates[i];
    command.run.batch_size = command.batches[command.batches.size() == 1 ? 0 : i];
    const BenchmarkResult result = benchmark(command.run, *comm);
    if (comm->is_first()) print_line(command, result, comm->world());
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "bench", "Measure training steps, or the head alone, at a given number of identities");
  const auto options = std::make_shared<BenchCommand>();
  command->add_option("--identities", options->run.identities, "Class centres")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--rates", options->rates, "Sample rates; 1 is the model-parallel softmax")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_choice(*command, "--sampling", options->run.sampling,
             "How classes are drawn; blocks: eight that lie together at a time");
  command
      ->add_option("--batch", options->batches,
                   "Images in a step, over all ranks: one number for all rates, or one for each")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--network", options->run.network,
                   "Train this network too; without it, only the head")
      ->check(CLI::IsMember(backbone_names()));
  command->add_option("--dim", options->run.head.table.dim, "Length of an embedding")
      ->check(CLI::Range(1, 8192))
      ->capture_default_str();
  add_choice(*command, "--table", options->table,
             "How centres and their optimizer's state are stored");
  add_choice(
      *command, "--center-memory", options->center_memory,
      "Where both are kept; host: in this machine's memory, from which rows are copied to the GPU");
  add_choice(*command, "--device", options->device,
             "What to measure on; auto: a GPU if there is one");
  command->add_option("--steps", options->run.steps, "Number of steps; the median is shown")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command
      ->add_option("--threads", options->threads,
                   "Threads of a rank; by default the ranks share the cores")
      ->check(CLI::Range(1, 1024));
  command->footer(
      "Examples:\n"
      "  pfc bench --identities 1000000 --rates 1.0 0.1\n"
      "  pfc bench --identities 10000000 --rates 0.1 --table bfloat16\n"
      "  mpirun -np 4 pfc bench --identities 1000000 --network tiny --rates 1.0 0.1 --batch 128 "
      "256\n"
      "Memory is that of the largest process. At 512 dimensions the table takes 4 KiB for each "
      "identity\n"
      "in float32 and 2 KiB in bfloat16, at any rate.");
  command->callback([options] { run_bench(*options); });
}

}  // namespace pfc
