#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/head/head_memory.h"
#include "pfc/train/disk_speed.h"

namespace pfc {

/// What a training step takes: memory of a rank, network traffic and time, by arithmetic alone.
/// docs/scaling.md says what it was compared with and which of its constants were fitted.

/// A GPU or a CPU that runs one rank: its memory and the rates that it reaches, which are below its
/// maker's numbers.
struct DeviceCost {
  std::string name;
  double memory_bytes = 0;
  double fixed_bytes = 0;  ///< taken by the libraries: context, workspaces, buffers, free lists
  /// Memory of the backbone's maps, relative to what the backward pass needs: gradients of maps,
  /// workspaces, fragmented memory. 1 if fixed_bytes includes them.
  double kept_times = 1;
  bool half = true;  ///< the backbone computes in mixed precision, and keeps half precision
  double backbone_flops = 0;  ///< a second, in convolutions and linear layers
  double head_flops = 0;      ///< a second, in the head's products, in float32
  /// The same for public code, including everything it does to its logits.
  double plain_head_flops = 0;
  double memory_rate = 0;   ///< bytes a second, read and written
  double host_rate = 0;     ///< bytes a second from host memory to a GPU, and as many back
  double link_rate = 0;     ///< bytes a second that a rank sends in a ring within a machine
  double network_rate = 0;  ///< the same for a ring over several machines
  int ranks_a_machine = 8;
  double step_seconds = 0;  ///< other time in a step: launches, the program
};

/// Throws Error, naming the known ones, for another name: v100 2080ti a100 h100 cpu.
const DeviceCost& device_cost(std::string_view name);
const std::vector<DeviceCost>& device_costs();

/// A network of `make_backbone`, with embeddings of 512.
struct NetworkCost {
  std::string name;
  double parameters = 0;
  double macs = 0;   ///< multiply-adds of a forward pass for one image
  double kept = 0;   ///< numbers that an image's forward pass keeps for its backward pass
  double fused = 0;  ///< those of them that the CPU's fused batch normalisation does not keep
};

/// A variant of a transformer (`_dp…`) counts like the plain one. Throws Error, naming the known
/// ones, for another name.
const NetworkCost& network_cost(std::string_view name);
const std::vector<NetworkCost>& network_costs();

/// How the softmax over the class centres is computed.
enum class HeadWay {
  kTiled,  ///< this project's PartialFc
  /// InsightFace's PyTorch code of 2021: each rank copies its sampled rows and their momentum, and
  /// autograd holds copies of those and of the logits.
  kPyTorch,
  kMxnet,       ///< the older code of 2020: the same, but it holds less
  kReplicated,  ///< like kPyTorch, but data parallel: every rank has all centres, and their
                ///< gradients are summed
};

/// Throws Error, naming the known ones, for another name: tiled pytorch mxnet replicated.
HeadWay head_way(std::string_view name);

struct PlanRequest {
  std::int64_t identities = 10'000'000;  ///< C
  double sample_rate = 0.1;              ///< r
  std::int64_t batch_size = 4096;        ///< B, over all ranks
  std::int64_t micro_batches = 1;
  std::string network = "r50";
  int ranks = 64;  ///< W
  HeadWay way = HeadWay::kTiled;
  PartialFcOptions head = {};                ///< its optimizer is the backbone's too
  NumberType gather = NumberType::kFloat32;  ///< type in which embeddings are sent, for kTiled
  int head_threads = 1;                      ///< threads that share the head's tiles
  DeviceCost device;
  /// Centres and state are in a file of each rank on a drive of its own. For kTiled.
  std::optional<DiskSpeed> disk = std::nullopt;
};

struct MemoryPart {
  std::string name;
  double bytes = 0;
};

struct CollectivePart {
  std::string name;
  double bytes = 0;    ///< that a rank sends in a step, counted for a ring
  double seconds = 0;  ///< on the network
  double waited = 0;   ///< the part of them that arithmetic does not hide
};

struct TimePart {
  std::string name;
  double seconds = 0;
};

/// A table on a disk. A record is a row and its state, side by side, packed in pages of 4096 bytes;
/// it never crosses from one to the next if it fits into one.
struct DiskPart {
  double table_bytes = 0;    ///< of a rank
  double journal_bytes = 0;  ///< at most: each page once, as it was at the last checkpoint
  double pages = 0;          ///< that a step reads, and writes: one a row, or more of larger rows
  double seconds = 0;        ///< for reading, writing and the journal of a step

  double step_bytes() const { return 4096 * pages; }  ///< read in a step, and as many written
};

struct Plan {
  std::vector<MemoryPart> memory;  ///< of rank 0, which has the most centres
  std::vector<CollectivePart> collectives;
  std::vector<TimePart> time;  ///< of a step; the parts follow each other
  double rows = 0;             ///< S, class centres that a rank uses in a step, the mean
  double host_bytes = 0;       ///< class centres in host memory, for each rank
  std::optional<DiskPart> disk;

  double bytes() const;
  double bytes_sent() const;
  double seconds() const;
};

/// Throws Error if the request makes no sense.
Plan make_plan(const PlanRequest& request);

/// The largest sample rate, of those in steps of a fifth below the request's, at which the disk
/// takes no longer than the rest of the step; 0 if there is none down to a row a step. The
/// request has a disk.
double rate_that_disk_carries(const PlanRequest& request);

/// Single changes that would make a request fit that does not fit; empty if no known one would.
std::vector<std::string> ways_to_fit(const PlanRequest& request);

}  // namespace pfc
