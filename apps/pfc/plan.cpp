#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>

#include "choice_option.h"
#include "commands.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/base/memory.h"
#include "pfc/model/backbone.h"
#include "pfc/train/cost_model.h"
#include "pfc/train/disk_speed.h"
#include "pfc/train/machine_ceilings.h"

namespace pfc {
namespace {

constexpr double kGB = 1e9, kTera = 1e12, kGiB = 1 << 30;

/// Where the plan has the centres.
enum class PlannedMemory { kDevice, kHost, kDisk };

}  // namespace

template <>
struct Names<PlannedMemory> {
  static constexpr auto kAll = named_values<PlannedMemory>({{PlannedMemory::kDevice, "device"},
                                                            {PlannedMemory::kHost, "host"},
                                                            {PlannedMemory::kDisk, "disk"}});
};

namespace {

struct PlanCommand {
  PlanRequest request;
  std::string device = "v100", way = "tiled";
  PlannedMemory center_memory = PlannedMemory::kDevice;
  std::string disk;
  double gpu_memory = 0, backbone_tflops = 0, head_tflops = 0, memory_gbs = 0, network_gbs = 0;
  bool measure = false;
};

DeviceCost device_of(const PlanCommand& command) {
  DeviceCost chosen = device_cost(command.measure ? "cpu" : command.device);
  if (command.measure) {
    std::cerr << "measuring this machine's products and copies\n";
    constexpr std::int64_t kMostSamples = 1024;  // more samples do not increase the rate
    const MachineCeilings found = measure_ceilings(
        std::min(command.request.batch_size, kMostSamples), command.request.head.table.dim);
    chosen.name = "this machine's CPU";
    chosen.backbone_flops = chosen.head_flops = found.flops_per_second;
    chosen.memory_rate = found.bytes_per_second;
    chosen.memory_bytes = static_cast<double>(available_memory());
  }
  const auto replace = [](double& rate, double given) {
    if (given > 0) rate = given;
  };
  replace(chosen.memory_bytes, command.gpu_memory * kGiB);
  replace(chosen.backbone_flops, command.backbone_tflops * kTera);
  replace(chosen.head_flops, command.head_tflops * kTera);
  replace(chosen.plain_head_flops, command.head_tflops * kTera);
  replace(chosen.memory_rate, command.memory_gbs * kGB);
  replace(chosen.link_rate, command.network_gbs * kGB);
  replace(chosen.network_rate, command.network_gbs * kGB);
  return chosen;
}

DiskSpeed disk_of(const PlanCommand& command) {
  if (command.disk.empty()) return assumed_disk();
  std::cerr << "measuring the disk of " << command.disk << "\n";
  return measure_disk(command.disk);
}

void print_memory(const PlanRequest& request, const Plan& plan) {
  std::cout << "Memory of a rank\n";
  for (const MemoryPart& part : plan.memory)
    std::cout << format("  %-44s %9.3f GB\n", part.name.c_str(), part.bytes / kGB);
  const double left = request.device.memory_bytes - plan.bytes();
  std::cout << format("  %-44s %9.3f GB of %.3f GB: ", "in all", plan.bytes() / kGB,
                      request.device.memory_bytes / kGB)
            << format(left < 0 ? "%.3f GB too much" : "fits, %.3f GB are left",
                      std::abs(left) / kGB)
            << "\n";
  if (plan.host_bytes > 0) {
    std::cout << format("  %-44s %9.3f GB\n",
                        plan.disk ? "in its machine's memory: pages of a step"
                                  : "in its machine's memory: class centres and optimizer",
                        plan.host_bytes / kGB);
  }
  if (left >= 0) return;
  const std::vector<std::string> ways = ways_to_fit(request);
  std::cout << (ways.empty() ? "  no single change would make it fit; try several\n"
                             : "  it would fit with\n");
  for (const std::string& way : ways) std::cout << "    " << way << "\n";
}

void print_step(const PlanRequest& request, const Plan& plan) {
  std::cout
      << "\n"
         "Sent by a rank in a step                             bytes   on the way   waited for\n";
  for (const CollectivePart& part : plan.collectives) {
    std::cout << format("  %-37s %18s %9.2f ms %9.2f ms\n", part.name.c_str(),
                        grouped(std::llround(part.bytes)).c_str(), part.seconds * 1e3,
                        part.waited * 1e3);
  }
  std::cout << "\nA step\n";
  for (const TimePart& part : plan.time)
    std::cout << format("  %-44s %9.2f ms\n", part.name.c_str(), part.seconds * 1e3);
  std::cout << format("  %-44s %9.2f ms, %.0f images/s\n", "in all", plan.seconds() * 1e3,
                      static_cast<double>(request.batch_size) / plan.seconds());
}

void print_disk(const PlanRequest& request, const Plan& plan) {
  const DiskSpeed& speed = *request.disk;
  const DiskPart& disk = *plan.disk;
  const double seconds = plan.seconds();
  const auto line = [](const char* name, const std::string& value) {
    std::cout << format("  %-44s %s\n", name, value.c_str());
  };
  std::cout << "\nDisk of a rank, "
            << (speed.how.empty() ? "a server's NVMe drive as assumed, not measured"
                                  : "measured: " + speed.how)
            << format(": %s pages read/s, %s written/s, %.0f MB/s read in a row, %.0f written\n",
                      grouped(std::llround(speed.pages_read)).c_str(),
                      grouped(std::llround(speed.pages_written)).c_str(), speed.bytes_read / 1e6,
                      speed.bytes_written / 1e6);
  line("class centres and optimizer", format("%9.3f GB", disk.table_bytes / kGB));
  line("journal, at most", format("%9.3f GB", disk.journal_bytes / kGB));
  line("read in a step", format("%9.3f MB", disk.step_bytes() / 1e6));
  line("written in a step, at most",
       format("%9.3f MB, half of it the journal", 2 * disk.step_bytes() / 1e6));
  line("pages read, and as many written",
       format("%9s a step", grouped(std::llround(disk.pages)).c_str()));
  line("the disk's part of a step", format("%9.0f %%", 100 * disk.seconds / seconds));
  if (2 * disk.seconds <= seconds) return;
  const double rate = rate_that_disk_carries(request);
  std::cout << "  the disk is too slow: it takes longer than all else of a step; "
            << (rate > 0 ? format("it would carry --rate %.2g", rate)
                         : std::string("no rate would change that"))
            << "\n";
}

void run_plan(PlanCommand command) {
  PlanRequest& request = command.request;
  CenterTableOptions& table = request.head.table;
  const bool on_disk = command.center_memory == PlannedMemory::kDisk;
  if (!command.disk.empty() && !(command.measure && on_disk))
    throw UsageError("--disk wants --measure and --center-memory disk");
  request.way = head_way(command.way);
  request.device = device_of(command);
  if (request.device.half) table.device = at::kCUDA;
  request.head_threads = tiles_at_once(table.device);
  table.in_host_memory = request.device.half && command.center_memory != PlannedMemory::kDevice;
  if (on_disk) request.disk = disk_of(command);
  const Plan plan = make_plan(request);
  std::cout << counted(request.identities, "identity") << ", rate "
            << format("%g", request.sample_rate) << ", embeddings of " << table.dim << ", batch "
            << grouped(request.batch_size) << ", " << request.network << " on " << request.ranks
            << " of " << request.device.name << ", " << command.way << ": "
            << counted(std::llround(plan.rows), "centre") << " a rank and step\n\n";
  print_memory(request, plan);
  if (plan.disk) print_disk(request, plan);
  print_step(request, plan);
}

void add_sizes(CLI::App& command, PlanCommand& options) {
  PlanRequest& request = options.request;
  const auto number = [&](const char* name, auto& value, const char* what, std::int64_t most) {
    command.add_option(name, value, what)
        ->check(CLI::Range(std::int64_t{1}, most))
        ->capture_default_str();
  };
  number("--identities", request.identities, "Class centres", 100'000'000'000);
  command
      .add_option(
          "--rate", request.sample_rate,
          "Sample rate; 1 is the model-parallel softmax. Of a rate that changes, its largest")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  number("--dim", request.head.table.dim, "Length of an embedding", 8192);
  number("--batch", request.batch_size, "Images in a step, over all ranks", 1 << 20);
  number("--micro-batches", request.micro_batches, "Number of parts that the batch is cut into",
         1 << 20);
  command.add_option("--network", request.network, "Backbone, as in model.network")
      ->check(CLI::IsMember(backbone_names()))
      ->capture_default_str();
  number("--ranks", request.ranks, "GPUs", 65536);
  CenterTableOptions& table = request.head.table;
  add_choice(command, "--centers", table.weights, "How the centres are stored");
  add_choice(command, "--state", table.state, "How their optimizer's state is stored");
  add_choice(
      command, "--center-memory", options.center_memory,
      "Where centres and state are kept: in the GPU's memory, (host) in its machine's, or on disk. "
      "A disk can only be planned: `pfc train` does not keep centres there yet");
  add_choice(command, "--gather", request.gather,
             "The type in which embeddings are sent between ranks");
  add_choice(command, "--optimizer", table.optimizer.kind, "Optimizer of backbone and centres");
  command
      .add_option("--way", options.way,
                  "The head: tiled (ours), or that of public code: pytorch, mxnet, replicated")
      ->capture_default_str();
}

void add_rates(CLI::App& command, PlanCommand& options) {
  CLI::Option* named =
      command.add_option("--device", options.device, "v100, 2080ti, a100, h100 or cpu")
          ->capture_default_str();
  command
      .add_flag("--measure", options.measure,
                "Measure the rates of this machine's CPU now; takes seconds")
      ->excludes(named);
  command.add_option("--disk", options.disk, "Folder whose disk --measure measures too")
      ->check(CLI::ExistingDirectory);
  const auto rate = [&](const char* name, double& value, const char* what) {
    command.add_option(name, value, what)->check(CLI::PositiveNumber);
  };
  rate("--gpu-memory", options.gpu_memory, "Memory of a device in GiB, instead of the known value");
  rate("--backbone-tflops", options.backbone_tflops,
       "10^12 operations/s that the backbone reaches");
  rate("--head-tflops", options.head_tflops, "10^12 operations/s that the head's products reach");
  rate("--memory-gbs", options.memory_gbs, "10^9 bytes/s of memory, read and written");
  rate("--network-gbs", options.network_gbs, "10^9 bytes/s that a rank sends");
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "plan", "Predict what a run takes: memory of a rank, bytes sent, time of a step");
  const auto options = std::make_shared<PlanCommand>();
  add_sizes(*command, *options);
  add_rates(*command, *options);
  command->footer(
      "Examples:\n"
      "  pfc plan --identities 10000000 --rate 0.1 --batch 4096 --ranks 64 --device 2080ti\n"
      "  pfc plan --identities 100000000 --ranks 64 --centers bfloat16 --state bfloat16\n"
      "  pfc plan --identities 1000000 --batch 128 --network tiny --ranks 1 --measure\n"
      "Nothing is run without --measure. docs/scaling.md compares such predictions with "
      "measurements.");
  command->callback([options] { run_plan(*options); });
}

}  // namespace pfc
