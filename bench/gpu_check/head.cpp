#include <torch/nn/functional/normalization.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "gpu_check/gpu_check.h"

namespace pfc::gpu_check {
namespace {

/// The same steps on the CPU and on the GPU, from the same start.
void check_head(const std::string& what, const HeadCase& c, double limit) {
  const ClassShard shard(c.identities, 0, 1);
  const ClassSampler sampler({.sample_rate = c.rate}, shard);
  const auto comm = make_self_communicator();
  PartialFcOptions on_gpu = c.head;
  on_gpu.table.device = kGpu;
  on_gpu.table.in_host_memory = c.in_host_memory;
  PartialFc cpu(c.head, shard), there(on_gpu, shard);
  expect_below(what + ": initial centres",
               error_of(there.settled_table().weights(), cpu.settled_table().weights()), 1e-5);
  cpu.settled_table().weights().copy_(there.settled_table().weights());
  // AdamW's first steps have the same length for a tiny gradient as for a large one, and rounding
  // decides the sign of tiny ones.
  const double lr = c.head.table.optimizer.kind == CenterOptimizer::Kind::kAdamW ? 1e-3 : 0.1;
  double loss = 0, gradient = 0;
  const std::int64_t centers = centers_a_class(c.head.loss);
  at::Tensor negative = torch::ones({c.identities * centers}, at::kBool);
  for (std::int64_t step = 0; step < 8; ++step) {
    const std::vector<GlobalClass> labels = labels_of(c, step);
    for (const GlobalClass label : labels)
      negative.narrow(0, label.v * centers, centers).fill_(false);
    const SampledClasses classes = sampler.draw(step, labels);
    at::Tensor x = torch::nn::functional::normalize(torch::randn({c.batch, kDim}));
    if (c.learnt) {
      for (std::int64_t i = 0; i < c.batch; ++i)
        x[i] += 10 * cpu.settled_table().weights()[labels[static_cast<std::size_t>(i)].v];
      x = torch::nn::functional::normalize(x);
    }
    at::Tensor valid = torch::ones(c.batch);
    valid[3] = 0;
    const at::Tensor a = head_step(cpu, classes, x, valid, *comm, lr, c.micro_batches);
    const at::Tensor b =
        head_step(there, classes, x.to(kGpu), valid.to(kGpu), *comm, lr, c.micro_batches);
    if (step % 3 < 2) there.prefetch(sampler.draw(step + 1, labels_of(c, step + 1)));
    loss = std::max(loss, std::abs(there.loss() / cpu.loss() - 1));
    gradient = std::max(gradient, error_of(b, a));
  }
  expect_below(what + ": loss", loss, limit);
  expect_below(what + ": gradient of embeddings", gradient, limit);
  if (there.moving_numbers().numel() > 0) {
    expect_below(what + ": the loss's numbers",
                 error_of(there.moving_numbers(), cpu.moving_numbers()), 1e-6);
  }
  cpu.settled_table().catch_up();
  there.settled_table().catch_up();
  expect_below(what + ": centres",
               error_of(there.settled_table().weights(), cpu.settled_table().weights()), limit);
  const at::Tensor momentum = there.settled_table().part("momentum").cpu(),
                   wanted = cpu.settled_table().part("momentum");
  expect_below(what + ": their momentum", error_of(momentum, wanted), limit);
  // A negative's gradient is a thousandth of a positive's, so it must be compared separately. For
  // learnt samples float32 leaves three digits of a positive's 1 − p, but all digits of another
  // class's p.
  const at::Tensor rows = negative.nonzero().squeeze(1);
  if (rows.size(0) > 0) {
    expect_below(what + ": that of classes without a sample",
                 error_of(momentum.index_select(0, rows), wanted.index_select(0, rows)),
                 c.learnt ? limit / 20 : limit);
  }
}

/// A skipped step changes no centre.
void check_skip() {
  const HeadCase c;
  const ClassShard shard(c.identities, 0, 1);
  PartialFcOptions options;
  options.table = {.dim = kDim, .device = kGpu};
  PartialFc head(options, shard);
  const auto comm = make_self_communicator();
  const at::Tensor before = head.settled_table().weights().clone();
  const at::TensorOptions on_gpu(kGpu);
  head_step(head, ClassSampler({.sample_rate = c.rate}, shard).draw(0, labels_of(c, 0)),
            torch::nn::functional::normalize(random({c.batch, kDim})),
            torch::ones({c.batch}, on_gpu), *comm, /*lr=*/0.1, /*micro_batches=*/1,
            /*skip=*/torch::ones({1}, on_gpu));
  expect_below("head, a step to be skipped: centres",
               error_of(head.settled_table().weights(), before), 0);
}

}  // namespace

std::vector<GlobalClass> labels_of(const HeadCase& c, std::int64_t step) {
  const CounterRandom numbers(1, RandomStream::kBenchmark);
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < c.batch; ++i) {
    labels.push_back({numbers.below(c.identities, static_cast<std::uint64_t>(step),
                                    static_cast<std::uint64_t>(i))});
  }
  return labels;
}

at::Tensor head_step(PartialFc& head, const SampledClasses& classes, const at::Tensor& embeddings,
                     const at::Tensor& valid, Communicator& comm, double lr,
                     std::int64_t micro_batches, const at::Tensor& skip) {
  head.begin(classes, valid);
  const std::int64_t samples = embeddings.size(0) / micro_batches;
  const at::Tensor lengths = torch::linspace(5, 120, embeddings.size(0), embeddings.options());
  std::vector<at::Tensor> gradients;
  for (std::int64_t part = 0; part < micro_batches; ++part) {
    head.forward(
        {embeddings.narrow(0, part * samples, samples), lengths.narrow(0, part * samples, samples)},
        comm, part * samples);
    head.exchange(comm);
    Pending dx = comm.reduce_scatter(head.d_embeddings());
    part + 1 < micro_batches ? head.accumulate(dx) : head.update(lr, dx, skip);
    const at::Tensor gradient = dx.wait();           // the next part may overwrite its memory
    const at::Tensor& d_lengths = head.d_lengths();  // added as one more column
    const bool alone = micro_batches == 1 && !d_lengths.defined();
    gradients.push_back(alone                 ? gradient
                        : d_lengths.defined() ? at::cat({gradient, d_lengths.unsqueeze(1)}, 1)
                                              : gradient.clone());
  }
  return gradients.size() == 1 ? gradients.front() : at::cat(gradients);
}

void check_heads() {
  using Update = CenterOptimizer::Update;
  PartialFcOptions head;
  head.table.dim = kDim;
  head.gemm = GemmInput::kFloat32;
  check_head("head, float32", {.head = head}, 1e-4);
  check_head("the same in four micro-batches", {.head = head, .micro_batches = 4}, 1e-4);
  check_head("the same, some steps of which sample every class",
             {.identities = 24, .rate = 0.5, .batch = 64, .head = head}, 1e-4);
  head.tile_rows = 1000;
  head.loss = ArcFace{.m = 0.5};
  head.interclass_filter = 0.15;
  check_head("head, float32, ArcFace, filter, tiles of 1000", {.head = head}, 1e-4);
  head.workspace_bytes = 0;
  head.table.optimizer.update = Update::kDenseEquivalent;
  check_head("head, float32, dense_equivalent, nothing kept", {.head = head}, 1e-4);
  check_head("the same, the table in host memory", {.head = head, .in_host_memory = true}, 1e-4);
  head = {};
  head.table.dim = kDim;
  head.gemm = GemmInput::kFloat32;
  const auto check_loss = [&](const auto& loss) {
    head.loss = loss;
    head.interclass_filter = 0;
    head.workspace_bytes = PartialFcOptions().workspace_bytes;
    const std::string what = "head, float32, " + std::string(loss.kName);
    check_head(what, {.head = head}, 1e-4);
    head.workspace_bytes = 0;
    head.interclass_filter = 0.15;
    check_head(what + ", filter, nothing kept, in micro-batches",
               {.head = head, .micro_batches = 4}, 1e-4);
    head.tile_rows = 300;
    check_head(what + ", the table in host memory, small tiles",
               {.head = head, .in_host_memory = true}, 1e-4);
    head.tile_rows = 0;
  };
  std::apply([&](const auto&... losses) { (check_loss(losses), ...); }, Losses());
  head = {};
  head.table.dim = kDim;
  head.table.optimizer.kind = CenterOptimizer::Kind::kAdamW;
  head.gemm = GemmInput::kFloat32;
  check_head("head, float32, AdamW", {.head = head}, 1e-3);
  check_head("the same, the table in host memory", {.head = head, .in_host_memory = true}, 1e-3);
  head.table.optimizer.kind = CenterOptimizer::Kind::kSgd;
  for (const auto& [gemm, text] :
       {std::pair(GemmInput::kTF32, "TF32"), std::pair(GemmInput::kFloat16, "float16"),
        std::pair(GemmInput::kBFloat16, "bfloat16")}) {
    head.gemm = gemm;
    const double limit = gemm == GemmInput::kBFloat16 ? 1e-2 : 2e-3;
    head.scale = 64;
    check_head(std::string("head, ") + text, {.head = head}, limit);
    head.scale = 30;
    check_head(std::string("head, samples that are learnt, ") + text,
               {.head = head, .learnt = true}, 1e-2);
  }
  head.gemm = GemmInput::kFloat16;
  head.workspace_bytes = 0;
  check_head("the same, float16, nothing kept", {.head = head, .learnt = true}, 1e-2);
  check_skip();
}

}  // namespace pfc::gpu_check
