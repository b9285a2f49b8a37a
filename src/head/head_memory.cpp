#include "pfc/head/head_memory.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <string>

#include "base/ceil_divide.h"
#include "head/head_steps.h"
#include "head/prefetch_queue.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

std::string numbers_of(const CenterTableOptions& options) {
  return std::to_string(options.dim) + " " + std::string(name_of(options.weights)) +
         " numbers each, with their optimizer's state in " + std::string(name_of(options.state));
}

}  // namespace

int tiles_at_once(at::Device device) {
  return device.is_cuda() ? kGpuLanes : at::get_num_threads();
}

HeadMemory head_memory(const PartialFcOptions& options, const ClassShard& shard,
                       const HeadStepSize& step) {
  const std::int64_t centers_a_class = pfc::centers_a_class(options.loss);
  const std::int64_t rows = step.rows * centers_a_class;
  constexpr std::int64_t kFloat = bytes_of(NumberType::kFloat32);
  const bool on_gpu = options.table.device.is_cuda();
  const std::int64_t dim = options.table.dim, tile = PartialFc::tile_rows(options, step.samples);
  const std::int64_t sums = on_gpu ? sum_parts(step.samples, dim) : 1;
  const std::int64_t centers = on_gpu ? 2 : 1;  // on CPUs the gradients overwrite the centres
  const std::int64_t worker =
      (1 + sums) * step.samples * dim + tile * (centers * dim + step.samples);
  HeadMemory memory;
  memory.table = shard.rows() * centers_a_class * bytes_a_row(options.table);
  memory.step =
      PartialFc::kept_bytes(options, rows, step.samples) + kFloat * (step.threads * worker + rows);
  if (step.accumulates) memory.step += kFloat * rows * dim;
  memory.table_is_apart = on_gpu && options.table.in_host_memory;
  if (memory.table_is_apart) {
    memory.step += StagingDevice::kSlots * rows *
                   (bytes_a_row(options.table) + std::int64_t{sizeof(LocalRow)});
  }
  return memory;
}

void require_head_memory(const PartialFcOptions& options, const ClassShard& shard,
                         const HeadStepSize& step, const FreeMemory& free) {
  const HeadMemory need = head_memory(options, shard, step);
  const bool apart = need.table_is_apart, host_serves = !apart || need.table <= free.host;
  if (need.on_device() <= free.device && host_serves) return;
  // The memory that is too small.
  const std::int64_t available = host_serves ? free.device : free.host;
  const std::int64_t needed = host_serves ? need.on_device() : need.table;
  std::string text = "the head does not fit: " +
                     counted(shard.rows() * centers_a_class(options.loss), "class centre") +
                     " a rank, " + numbers_of(options.table) + ", take " + size_text(need.table) +
                     (apart ? " of the host's memory" : "") + ", a step takes " +
                     size_text(need.step) + (apart ? " of the GPU's, and " : " more, and ") +
                     size_text(available) + (apart && !host_serves ? " of the host's" : "") +
                     " are free; ";
  if (options.table.device.is_cuda() && !apart && need.table <= free.host)
    text += "keep them in the host's memory (head.center_memory, or bench's --center-memory), ";
  PartialFcOptions smaller = options;
  smaller.table.weights = smaller.table.state = NumberType::kBFloat16;
  const HeadMemory least = head_memory(smaller, shard, step);
  if (least.table < need.table && !(apart && host_serves)) {
    text +=
        "store them in bfloat16 (head.center_type and head.state_type, or bench's --table), which "
        "takes " +
        size_text(apart ? least.table : least.on_device()) + " in all, ";
  }
  if (host_serves && (apart || need.table < available)) {
    text += "lower head.sample_rate or train.batch_size, ";
  }
  const std::int64_t times = ceil_divide(needed, std::max<std::int64_t>(available, 1));
  text +=
      "or share them among " + counted(shard.world() * times, "rank") + " with as much memory each";
  throw Error(text);
}

}  // namespace pfc
