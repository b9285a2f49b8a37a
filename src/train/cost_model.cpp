#include "pfc/train/cost_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/page_file.h"
#include "head/kernels/row_rules.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/plan/sampler.h"

namespace pfc {
namespace {

constexpr double kFloat = 4, kDouble = 8, kHalf = 2, kLabel = 8;
/// How often each kept number is read or written in a step. In a block of iResNet a step moves 47
/// maps (a normalisation reads its input twice in forward, and input and gradient twice in
/// backward, …) for the 6 that it keeps.
constexpr double kPassesOverKept = 8;
/// Two thirds of a network's products belong to its backward pass.
constexpr double kBackwardShare = 2.0 / 3;

/// What public code moves and holds, besides the table, for each sampled row and for the logits.
struct PlainCode {
  // Fitted to published memory.
  double rows_held;    ///< [S, d] float32
  double logits_held;  ///< [B, S] float32
  // Counted from the code: 3 for the normalisation's forward and 15 for its backward, 11 for the
  // optimizer, 1 for the product that makes the gradient; if rows are sampled, 8 to copy them and
  // their momentum out and back; if gradients are summed over ranks, 4.
  double rows_moved = 30, sampled_rows_moved = 8, summed_rows_moved = 4;
  double seconds_a_drawn_row = 4.4e-9;  ///< random number and selection; fitted to published times
};

constexpr PlainCode kPyTorchCode{.rows_held = 6.5, .logits_held = 11.3};
constexpr PlainCode kMxnetCode{.rows_held = 4.5, .logits_held = 3};

void check(const PlanRequest& request) {
  const auto refuse = [](const std::string& what) { throw Error("the plan: " + what); };
  if (request.ranks < 1) refuse("there are " + counted(request.ranks, "rank") + ", want 1");
  if (request.identities < request.ranks) {
    refuse(counted(request.identities, "identity") + " on " + counted(request.ranks, "rank") +
           ", want at least one each");
  }
  const std::int64_t parts = request.ranks * std::max<std::int64_t>(request.micro_batches, 0);
  if (parts < 1 || request.batch_size < 1 || request.batch_size % parts != 0) {
    refuse("a batch of " + grouped(request.batch_size) + " does not divide among " +
           counted(request.ranks, "rank") + " and " +
           counted(request.micro_batches, "micro-batch"));
  }
  if (request.head.table.dim < 1) refuse("embeddings have at least one number");
  if (request.disk && request.way != HeadWay::kTiled)
    refuse("public code keeps no class centres on disk");
  if (request.way == HeadWay::kTiled) return;
  const CenterTableOptions& table = request.head.table;
  if (table.weights != NumberType::kFloat32 || table.state != NumberType::kFloat32 ||
      table.optimizer.kind != CenterOptimizer::Kind::kSgd || table.in_host_memory ||
      request.micro_batches > 1) {
    refuse(
        "public code supports only float32 centres in the GPU's memory, SGD and one micro-batch");
  }
  if (request.way == HeadWay::kReplicated && request.sample_rate < 1)
    refuse("replicated centres are not sampled; the rate is 1");
}

/// The sizes of a request, as numbers for calculations.
class Planner {
 public:
  explicit Planner(const PlanRequest& request)
      : request_(request),
        device_(request.device),
        network_(network_cost(request.network)),
        shard_(request.identities, 0, replicated() ? 1 : request.ranks),
        sampler_({.sample_rate = request.sample_rate}, shard_),
        ranks_(request.ranks),
        batch_(static_cast<double>(request.batch_size)),
        images_(batch_ / ranks_),
        dim_(static_cast<double>(request.head.table.dim)),
        own_(static_cast<double>(shard_.rows())) {
    // A sample's own class is already drawn with probability r; public code draws that many fewer.
    const double drawn = request.sample_rate * own_;
    rows_ = drawn;
    if (tiled()) rows_ += (1 - request.sample_rate) * std::min(batch_ / ranks_, own_);
    logits_ = rows_ * (replicated() ? images_ : batch_);
  }

  Plan plan() {
    result_.rows = rows_;
    plan_memory();
    const double backbone = backbone_seconds();
    const HeadTime head = tiled() ? tiled_head() : plain_head();
    plan_collectives(backbone * kBackwardShare, head.second);
    std::vector<TimePart>& time = result_.time;
    time = {{"backbone", backbone},
            {"head, pass 1", head.first},
            {"head, pass 2", head.second},
            {"launches and the program", device_.step_seconds}};
    if (!tiled()) time = {time[0], {"head", head.first + head.second}, time[3]};
    if (result_.host_bytes > 0) {
      // Rows are copied in and out while a step is running.
      const double copies =
          rows_ * static_cast<double>(bytes_a_row(request_.head.table)) / device_.host_rate;
      const double step = backbone + head.first + head.second + device_.step_seconds;
      time.push_back({"waiting for rows from the host", std::max(0.0, copies - step)});
    }
    if (result_.disk) time.push_back({"reading and writing the disk", result_.disk->seconds});
    double waited = 0;
    for (const CollectivePart& part : result_.collectives) waited += part.waited;
    time.push_back({"waiting for the network", waited});
    return std::move(result_);
  }

 private:
  struct HeadTime {
    double first = 0, second = 0;
  };

  bool tiled() const { return request_.way == HeadWay::kTiled; }
  bool replicated() const { return request_.way == HeadWay::kReplicated; }
  const PlainCode& plain() const {
    return request_.way == HeadWay::kMxnet ? kMxnetCode : kPyTorchCode;
  }
  double parts() const { return static_cast<double>(request_.micro_batches); }
  double bytes_of_weight() const {
    return static_cast<double>(bytes_of(request_.head.table.weights));
  }
  double states() const {
    return static_cast<double>(kernels::states_of(request_.head.table.optimizer).size());
  }
  HeadStepSize step_size() const {
    return {.rows = sampler_.most_rows(request_.batch_size),
            .samples = request_.batch_size / request_.micro_batches,
            .accumulates = request_.micro_batches > 1,
            .threads = request_.head_threads};
  }
  double kept_bytes_an_image() const {
    return device_.half ? kHalf * network_.kept : kFloat * (network_.kept - network_.fused);
  }

  void plan_memory() {
    std::vector<MemoryPart>& memory = result_.memory;
    const double parameters = network_.parameters, backbone = kFloat * parameters;
    memory.push_back({"backbone: weights and gradients", 2 * backbone});
    memory.push_back({"backbone: optimizer", states() * backbone});
    if (!tiled()) {
      memory.push_back({"backbone: gradients once more, to be sent", backbone});
    } else if (device_.half) {
      memory.push_back({"backbone: weights in half precision", kHalf * parameters});
    }
    memory.push_back({"backbone: kept for the backward pass",
                      images_ / parts() * kept_bytes_an_image() * device_.kept_times});
    const HeadMemory head = head_memory(request_.head, shard_, step_size());
    const double weights = own_ * dim_ * bytes_of_weight();
    if (request_.disk) {
      plan_disk();
      const double pages = result_.disk->step_bytes();
      if (head.table_is_apart) {
        result_.host_bytes = pages;
      } else {
        memory.push_back({"pages of a step's class centres", pages});
      }
    } else if (head.table_is_apart) {
      result_.host_bytes = static_cast<double>(head.table);
    } else {
      memory.push_back({"class centres", weights});
      memory.push_back({"class centres: optimizer", static_cast<double>(head.table) - weights});
    }
    if (tiled()) {
      memory.push_back({"head: a step's tiles and probabilities", static_cast<double>(head.step)});
    } else {
      memory.push_back({"head: copies of sampled rows", plain().rows_held * kFloat * rows_ * dim_});
      memory.push_back({"head: logits and their like", plain().logits_held * kFloat * logits_});
    }
    const double gathered = replicated() ? 0 : batch_ / parts();
    memory.push_back({"embeddings and their gradients", 2 * kFloat * dim_ * (gathered + images_)});
    memory.push_back({"libraries", device_.fixed_bytes});
  }

  void plan_disk() {
    constexpr auto kPage = static_cast<double>(kPageBytes);
    const double record =
        dim_ *
        (bytes_of_weight() + states() * static_cast<double>(bytes_of(request_.head.table.state)));
    const double records_a_page = std::max(1.0, std::floor(kPage / record));
    const double pages_a_record = std::ceil(record / kPage);
    const double pages = std::ceil(own_ / records_a_page) * pages_a_record;
    DiskPart disk;
    disk.table_bytes = disk.journal_bytes = pages * kPage;
    // Stratified draws are far apart; where they are not, a page serves several rows.
    disk.pages = std::min(rows_ * pages_a_record, pages);
    // Right after a checkpoint every page goes to the journal too; later steps find some there.
    disk.seconds = disk.pages * (1 / request_.disk->pages_read + 1 / request_.disk->pages_written +
                                 kPage / request_.disk->bytes_written);
    result_.disk = disk;
  }

  double backbone_seconds() const {
    constexpr double kOperationsAMac = 2, kPasses = 3;  // forward, and two products backward
    const double bytes = kept_bytes_an_image() * kPassesOverKept;
    return images_ * (kPasses * kOperationsAMac * network_.macs / device_.backbone_flops +
                      bytes / device_.memory_rate);
  }

  /// As in docs/design.md: 6·B·S·d operations, 8 if nothing is kept. A row is gathered in pass 1
  /// (and again in pass 2 if nothing was kept), then read and written by the update, and so is its
  /// state.
  HeadTime tiled_head() const {
    const HeadStepSize size = step_size();
    const auto kept =
        static_cast<double>(PartialFc::kept_bytes(request_.head, size.rows, size.samples));
    const double product = 2 * logits_ * dim_ / device_.head_flops, numbers = rows_ * dim_;
    const double row = numbers * bytes_of_weight();
    const double state =
        states() * numbers * static_cast<double>(bytes_of(request_.head.table.state));
    const double sums =
        (parts() - 1) * 2 * kFloat * numbers;  // the sum of d_ŵ so far, read and written
    HeadTime time{.first = 2 * product, .second = product};
    double first_bytes = parts() * row, second_bytes = 2 * row + 2 * state + sums;
    if (kept > 0) {
      first_bytes += parts() * kept;
      second_bytes += parts() * kept;
    } else {
      time.second += product;
      second_bytes += parts() * row;
    }
    time.first += first_bytes / device_.memory_rate;
    time.second += second_bytes / device_.memory_rate;
    return time;
  }

  HeadTime plain_head() const {
    const bool sampled = request_.sample_rate < 1;
    const PlainCode& code = plain();
    const double moved = code.rows_moved + (sampled ? code.sampled_rows_moved : 0) +
                         (replicated() ? code.summed_rows_moved : 0);
    return {.first = 6 * logits_ * dim_ / device_.plain_head_flops +
                     moved * kFloat * rows_ * dim_ / device_.memory_rate +
                     (sampled ? code.seconds_a_drawn_row * own_ : 0)};
  }

  /// Gathers `numbers` [W·n] from n of each rank.
  void all_gather(const std::string& name, double numbers, double bytes) {
    add(name, (ranks_ - 1) / ranks_ * numbers * bytes, 0);
  }
  void reduce_scatter(const std::string& name, double numbers, double hidden_seconds) {
    add(name, (ranks_ - 1) / ranks_ * numbers * kFloat, hidden_seconds);
  }
  void all_reduce(const std::string& name, double numbers, double hidden_seconds) {
    add(name, 2 * (ranks_ - 1) / ranks_ * numbers * kFloat, hidden_seconds);
  }
  void add(const std::string& name, double bytes, double hidden_seconds) {
    const double rate =
        request_.ranks <= device_.ranks_a_machine ? device_.link_rate : device_.network_rate;
    const double seconds = bytes > 0 ? bytes / rate : 0;
    result_.collectives.push_back({.name = name,
                                   .bytes = bytes,
                                   .seconds = seconds,
                                   .waited = std::max(0.0, seconds - hidden_seconds)});
  }

  /// Everything that is sent. None of it depends on the number of identities, except for replicated
  /// centres. Latencies are left out.
  void plan_collectives(double backward_seconds, double pass_2_seconds) {
    const double numbers = batch_ * dim_;
    switch (request_.way) {
      case HeadWay::kTiled:
        all_gather("all_gather valid flags", batch_, kFloat);
        all_gather("all_gather embeddings", numbers,
                   static_cast<double>(bytes_of(request_.gather)));
        // Every rank sends a maximum, a sum and an own logit for all samples.
        all_gather("all_gather maxima, sums, targets", 3 * ranks_ * batch_, kDouble);
        reduce_scatter("reduce_scatter d_embeddings", numbers, pass_2_seconds);
        break;
      case HeadWay::kPyTorch:
      case HeadWay::kMxnet:
        all_gather("all_gather labels", batch_, kLabel);
        all_gather("all_gather embeddings", numbers, kFloat);
        all_reduce("all_reduce maxima, sums, losses", 3 * batch_, 0);
        reduce_scatter("reduce_scatter d_embeddings", numbers, 0);
        break;
      case HeadWay::kReplicated:
        all_reduce("all_reduce gradients of the centres", own_ * dim_, backward_seconds);
        backward_seconds -= std::min(backward_seconds, result_.collectives.back().seconds);
        break;
    }
    all_reduce("all_reduce gradients of the backbone", network_.parameters, backward_seconds);
  }

  const PlanRequest& request_;
  const DeviceCost& device_;
  const NetworkCost& network_;
  ClassShard shard_;
  ClassSampler sampler_;
  double ranks_, batch_, images_, dim_, own_;
  double rows_ = 0;    ///< S
  double logits_ = 0;  ///< that a rank computes
  Plan result_;
};

template <typename Part>
double sum(const std::vector<Part>& parts, double Part::*value) {
  return std::accumulate(parts.begin(), parts.end(), 0.0,
                         [&](double so_far, const Part& part) { return so_far + part.*value; });
}

}  // namespace

double Plan::bytes() const {
  return sum(memory, &MemoryPart::bytes);
}

double Plan::bytes_sent() const {
  return sum(collectives, &CollectivePart::bytes);
}

double Plan::seconds() const {
  return sum(time, &TimePart::seconds);
}

Plan make_plan(const PlanRequest& request) {
  check(request);
  return Planner(request).plan();
}

double rate_that_disk_carries(const PlanRequest& request) {
  constexpr double kStep = 0.8;
  PlanRequest changed = request;
  const double a_row = static_cast<double>(request.ranks) / static_cast<double>(request.identities);
  for (; changed.sample_rate >= a_row; changed.sample_rate *= kStep) {
    const Plan plan = make_plan(changed);
    if (2 * plan.disk->seconds <= plan.seconds()) return changed.sample_rate;
  }
  return 0;
}

std::vector<std::string> ways_to_fit(const PlanRequest& request) {
  constexpr int kMostTimes = 1024;
  std::vector<std::string> ways;
  const auto fits = [&](const PlanRequest& changed) {
    return make_plan(changed).bytes() <= request.device.memory_bytes;
  };
  if (request.way != HeadWay::kTiled) {
    PlanRequest changed = request;
    changed.way = HeadWay::kTiled;
    if (fits(changed)) ways.emplace_back("the tiled head");
    return ways;
  }
  PlanRequest small = request;
  small.head.table.weights = small.head.table.state = NumberType::kBFloat16;
  if (fits(small)) ways.emplace_back("centres and their optimizer's state in bfloat16");
  if (request.device.half && !request.head.table.in_host_memory) {
    PlanRequest apart = request;
    apart.head.table.device = at::kCUDA;
    apart.head.table.in_host_memory = true;
    if (fits(apart))
      ways.push_back("the centres in the host's memory (" +
                     size_text(static_cast<std::int64_t>(make_plan(apart).host_bytes)) +
                     " a rank)");
  }
  for (std::int64_t times = 2; times <= kMostTimes; times *= 2) {
    PlanRequest changed = request;
    changed.micro_batches *= times;
    if (request.batch_size % (request.ranks * changed.micro_batches) != 0) break;
    if (!fits(changed)) continue;
    ways.push_back(counted(changed.micro_batches, "micro-batch"));
    break;
  }
  for (int times = 2; times <= kMostTimes; times *= 2) {
    PlanRequest changed = request;
    changed.ranks *= times;
    if (request.batch_size % (changed.ranks * request.micro_batches) != 0 ||
        request.identities < changed.ranks) {
      break;
    }
    if (!fits(changed)) continue;
    ways.push_back(counted(changed.ranks, "rank"));
    break;
  }
  return ways;
}

}  // namespace pfc
