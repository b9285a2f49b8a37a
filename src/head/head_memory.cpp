#include "pfc/head/head_memory.h"

#include <algorithm>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

std::string gigabytes(std::int64_t bytes) {
  return format("%.2f GB", static_cast<double>(bytes) / 1e9);
}

std::string numbers_of(const CenterTableOptions& options) {
  return std::to_string(options.dim) + " " + std::string(name_of(options.weights)) +
         " numbers each, with their optimizer's state in " + std::string(name_of(options.state));
}

}  // namespace

HeadMemory head_memory(const PartialFcOptions& options, const ClassShard& shard,
                       const HeadStepSize& step) {
  constexpr std::int64_t kFloat = bytes_of(NumberType::kFloat32);
  const std::int64_t dim = options.table.dim, tile = PartialFc::tile_rows(options);
  const std::int64_t worker = 2 * step.samples * dim + tile * dim + tile * step.samples;
  HeadMemory memory;
  memory.table = shard.rows() * bytes_a_row(options.table);
  memory.step = PartialFc::kept_bytes(options, step.rows, step.samples) +
                kFloat * (step.threads * worker + step.rows);
  if (step.accumulates) memory.step += kFloat * step.rows * dim;
  return memory;
}

void require_head_memory(const PartialFcOptions& options, const ClassShard& shard,
                         const HeadStepSize& step, std::int64_t available) {
  const HeadMemory need = head_memory(options, shard, step);
  if (need.total() <= available) return;
  std::string text = "the head does not fit: " + grouped(shard.rows()) + " class centres a rank, " +
                     numbers_of(options.table) + ", take " + gigabytes(need.table) +
                     ", a step takes " + gigabytes(need.step) + " more, and " +
                     gigabytes(available) + " are free; ";
  PartialFcOptions smaller = options;
  smaller.table.weights = smaller.table.state = NumberType::kBFloat16;
  const HeadMemory least = head_memory(smaller, shard, step);
  if (least.table < need.table) {
    text +=
        "store them in bfloat16 (head.center_type and head.state_type, or bench's --table), which "
        "takes " +
        gigabytes(least.total()) + " in all, ";
  }
  if (need.table < available) {
    text += "lower head.sample_rate or train.batch_size, ";
  }
  const std::int64_t times = (need.total() + available - 1) / std::max<std::int64_t>(available, 1);
  text +=
      "or share them among " + grouped(shard.world() * times) + " ranks with as much memory each";
  throw Error(text);
}

}  // namespace pfc
