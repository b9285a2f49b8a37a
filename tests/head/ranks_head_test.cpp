// The head over several ranks compared with the same head on one.
#include <gtest/gtest.h>
#include <torch/nn/functional/normalization.h>
#include <torch/types.h>

#include <cmath>

#include "comm/thread_communicator.h"
#include "pfc/head/partial_fc.h"
#include "ranks.h"

namespace pfc {
namespace {

constexpr std::int64_t kDim = 16, kBatch = 24, kSteps = 20;

struct Case {
  std::string name;
  PartialFcOptions head = {.table = {.dim = kDim}, .scale = 16, .tile_rows = 8};
  std::int64_t classes = 101;  // not divisible by a world of 2, 3 or 4
  double sample_rate = 0.3;
  std::int64_t labels_below = 101;
  std::int64_t micro_batches = 1;
};

struct Result {
  std::vector<double> losses;
  at::Tensor d_embeddings;  ///< [B, d] of the last step
  at::Tensor d_lengths;     ///< [B] likewise, of a loss that has a gradient by them
  at::Tensor moving;
  at::Tensor weights, momentum;  ///< [C, d]
};

at::Tensor embeddings_of(std::int64_t step) {
  const auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(step) + 1);
  return torch::nn::functional::normalize(torch::randn({kBatch, kDim}, generator));
}

std::vector<GlobalClass> labels_of(const Case& c, std::int64_t step) {
  std::vector<GlobalClass> labels;
  for (std::int64_t i = 0; i < kBatch; ++i)
    labels.push_back({(step * 37 + i * i * 11) % c.labels_below});
  return labels;
}

/// All ranks' rows in the order of classes. The ranks' numbers of rows differ by at most one.
at::Tensor all_rows(const at::Tensor& rows, const ClassShard& shard, Communicator& comm) {
  const std::int64_t most = shard.on(0, comm.world()).rows();
  const at::Tensor padded = torch::zeros({most, kDim});
  padded.narrow(0, 0, rows.size(0)).copy_(rows);
  const at::Tensor all = comm.all_gather(padded).wait();
  std::vector<at::Tensor> parts;
  for (int rank = 0; rank < comm.world(); ++rank) {
    parts.push_back(all.narrow(0, rank * most, shard.on(rank, comm.world()).rows()));
  }
  return at::cat(parts);
}

Result run(const Case& c, Communicator& comm) {
  const ClassShard shard(c.classes, comm.rank(), comm.world());
  const ClassSampler sampler({.sample_rate = c.sample_rate, .seed = 3}, shard);
  PartialFc head(c.head, shard);
  at::Tensor valid = torch::ones(kBatch);
  valid[5] = 0;
  Result result;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const double lr = 0.1 / static_cast<double>(step + 1);
    const at::Tensor embeddings = embeddings_of(step);
    const std::int64_t samples = kBatch / c.micro_batches;
    const at::Tensor lengths = torch::linspace(5, 120, kBatch) + static_cast<double>(step);
    std::vector<at::Tensor> d_embeddings, d_lengths;
    head.begin(sampler.draw(step, labels_of(c, step)), valid);
    for (std::int64_t first = 0; first < kBatch; first += samples) {
      head.forward({embeddings.narrow(0, first, samples), lengths.narrow(0, first, samples)}, comm,
                   first);
      head.exchange(comm);
      Pending dx = comm.reduce_scatter(head.d_embeddings());
      if (first + samples < kBatch) {
        head.accumulate(dx);
      } else {
        head.update(lr, dx);
      }
      d_embeddings.push_back(comm.all_gather(dx.wait()).wait().clone());
      if (!head.d_lengths().defined()) continue;
      const at::Tensor part = comm.reduce_scatter(head.d_lengths()).wait();
      d_lengths.push_back(comm.all_gather(part).wait().clone());
    }
    result.losses.push_back(head.loss());
    result.d_embeddings = at::cat(d_embeddings);
    if (!d_lengths.empty()) result.d_lengths = at::cat(d_lengths);
  }
  head.settled_table().catch_up();
  result.weights = all_rows(head.settled_table().weights(), head.settled_table().shard(), comm);
  result.momentum =
      all_rows(head.settled_table().part("momentum"), head.settled_table().shard(), comm);
  result.moving = head.moving_numbers();
  return result;
}

/// The difference, relative to the largest wanted value.
double error(const at::Tensor& found, const at::Tensor& want) {
  return ((found - want).abs().max() / want.abs().max()).item<double>();
}

void expect_equals_one_rank(const Case& c) {
  SCOPED_TRACE(c.name);
  const Result want = run(c, *make_self_communicator());
  on_ranks([&](Communicator& comm) {
    const Result found = run(c, comm);
    for (std::size_t step = 0; step < want.losses.size(); ++step)
      EXPECT_NEAR(found.losses[step], want.losses[step], 1e-5 * want.losses[step]) << step;
    EXPECT_LT(error(found.d_embeddings, want.d_embeddings), 1e-5) << c.name;
    EXPECT_LT(error(found.weights, want.weights), 1e-5) << c.name;
    EXPECT_LT(error(found.momentum, want.momentum), 1e-5) << c.name;
    if (want.d_lengths.defined()) {
      EXPECT_LT(error(found.d_lengths, want.d_lengths), 1e-5) << c.name;
    }
    EXPECT_TRUE(found.moving.allclose(want.moving, 1e-9)) << c.name;
  });
}

TEST(RanksHead, ShardedEqualsUnshardedForAnyRate) {
  for (const double rate : {0.0, 0.3, 1.0}) {
    Case c{.name = "rate " + std::to_string(rate)};
    c.sample_rate = rate;
    expect_equals_one_rank(c);
  }
}

TEST(RanksHead, ShardedEqualsUnshardedWhereRanksHaveNoPositives) {
  Case c{.name = "labels of the first rank"};
  c.labels_below = 20;
  expect_equals_one_rank(c);
  c.name = "and no negatives either";  // some ranks have no sampled class
  c.sample_rate = 0;
  expect_equals_one_rank(c);
}

TEST(RanksHead, ShardedEqualsUnshardedForEveryLoss) {
  const auto check = [](const auto& loss) {
    Case c{.name = std::string(loss.kName)};
    c.head.loss = loss;
    expect_equals_one_rank(c);
    c.name += ", filter";
    c.head.interclass_filter = 0.3;
    expect_equals_one_rank(c);
    c.name += ", micro-batches";
    c.micro_batches = 2;
    expect_equals_one_rank(c);
  };
  std::apply([&](const auto&... losses) { (check(losses), ...); }, Losses());
}

TEST(RanksHead, ShardedEqualsUnshardedWithMicroBatchesAndWithEveryStepsDecay) {
  Case c{.name = "micro-batches, dense_equivalent"};
  c.micro_batches = 2;
  c.head.table.optimizer.update = CenterOptimizer::Update::kDenseEquivalent;
  expect_equals_one_rank(c);
}

TEST(RanksHead, ShardedEqualsUnshardedWhereProbabilitiesAreComputedTwice) {
  Case c{.name = "no workspace"};
  c.head.workspace_bytes = 0;
  expect_equals_one_rank(c);
}

TEST(RanksHead, TheSameWorldGivesTheSameBits) {
  const Case c{.name = "twice"};
  on_ranks([&](Communicator& comm) {
    const Result first = run(c, comm), second = run(c, comm);
    EXPECT_EQ(first.losses, second.losses);
    EXPECT_TRUE(first.weights.equal(second.weights));
    EXPECT_TRUE(first.momentum.equal(second.momentum));
  });
}

TEST(RanksHead, ALossThatIsNotFiniteLeavesTheCentresOfAllRanksUntouched) {
  on_ranks([](Communicator& comm) {
    const Case c;
    const ClassShard shard(c.classes, comm.rank(), comm.world());
    PartialFc head(c.head, shard);
    const at::Tensor before = head.settled_table().weights().clone();
    // A centre of the last rank; the others learn of it in the exchange.
    if (comm.rank() == comm.world() - 1)
      head.settled_table().weights()[shard.rows() - 1][0] = std::nan("");
    head.begin(ClassSampler({.sample_rate = 1}, shard).draw(0, labels_of(c, 0)),
               torch::ones(kBatch));
    head.forward({embeddings_of(0)}, comm);
    head.exchange(comm);
    EXPECT_FALSE(std::isfinite(head.loss()));
    Pending dx = comm.reduce_scatter(head.d_embeddings());
    head.update(0.1, dx);
    EXPECT_TRUE(head.settled_table()
                    .weights()
                    .narrow(0, 0, shard.rows() - 1)
                    .equal(before.narrow(0, 0, shard.rows() - 1)));
  });
}

TEST(RanksHead, TableAndTrafficOfARankFallWithTheWorldAndNotWithTheClasses) {
  on_ranks([](Communicator& comm) {
    std::int64_t sent[2];
    for (int i = 0; i < 2; ++i) {
      Case c;
      c.classes = i == 0 ? 1000 : 4000;
      const TrafficByCollective before = comm.traffic();
      const ClassShard shard(c.classes, comm.rank(), comm.world());
      PartialFc head(c.head, shard);
      head.begin(ClassSampler({.sample_rate = 0.1}, shard).draw(0, labels_of(c, 0)),
                 torch::ones(kBatch));
      head.forward({embeddings_of(0)}, comm);
      head.exchange(comm);
      Pending dx = comm.reduce_scatter(head.d_embeddings());
      head.update(0.1, dx);
      dx.wait();
      sent[i] = 0;
      for (std::size_t k = 0; k < kCollectives.size(); ++k)
        sent[i] += comm.traffic()[k].bytes - before[k].bytes;
      EXPECT_EQ(head.settled_table().bytes(),
                bytes_a_row(c.head.table) *
                    (c.classes / comm.world() + (comm.rank() < c.classes % comm.world() ? 1 : 0)));
    }
    EXPECT_EQ(sent[0], sent[1]);
  });
}

}  // namespace
}  // namespace pfc
