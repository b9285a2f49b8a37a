#include "pfc/head/partial_fc.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "head/softmax_tile.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const PartialFcOptions& checked(const PartialFcOptions& options) {
  const auto want = [](bool holds, const std::string& what) {
    if (!holds) throw Error("the head's " + what);
  };
  want(options.dim > 0,
       "embedding size is " + std::to_string(options.dim) + ", want a positive number");
  want(options.scale > 0, "scale is " + std::to_string(options.scale) + ", want a positive number");
  want(options.tile_rows > 0,
       "tile has " + std::to_string(options.tile_rows) + " rows, want a positive number");
  return options;
}

at::Tensor unit_rows(const at::Tensor& x) {
  return x / x.norm(2, 1, true).clamp_min(1e-12);
}

}  // namespace

PartialFc::PartialFc(const PartialFcOptions& options, const ClassShard& shard)
    : options_(checked(options)), table_(shard, options.dim, options.optimizer, options.seed) {}

void PartialFc::reserve(std::int64_t samples, std::int64_t rows) {
  const std::int64_t tile = std::min(options_.tile_rows, table_.shard().rows());
  if (!unit_.defined()) unit_ = at::empty({tile, options_.dim}, at::kFloat);
  if (inverse_norm_.defined() && inverse_norm_.size(0) >= rows && maximum_.size(0) == samples)
    return;
  // A draw never holds fewer rows than S₀ nor more than S₀ + B: with B to spare this is the last
  // reservation.
  const std::int64_t most = std::min(rows + std::ssize(classes_.targets), table_.shard().rows());
  keep_ = most * samples * std::int64_t{sizeof(float)} <= options_.workspace_bytes;
  inverse_norm_ = at::empty({most}, at::kFloat);
  probabilities_ = at::empty({keep_ ? most : tile, samples}, at::kFloat);
  tile_maximum_ = at::empty({(most + tile - 1) / tile, samples}, at::kFloat);
  maximum_ = at::empty({samples}, at::kFloat);
  sum_ = at::empty({samples}, at::kFloat);
  d_embeddings_ = at::empty({samples, options_.dim}, at::kFloat);
}

void PartialFc::prepare_own_classes() {
  std::vector<std::int64_t> samples, places;
  const auto target = [&](std::int64_t i) { return targets_[static_cast<std::size_t>(i)]; };
  for (std::int64_t i = 0; i < std::ssize(targets_); ++i) {
    if (target(i) >= 0) samples.push_back(i);
  }
  std::stable_sort(samples.begin(), samples.end(),
                   [&](auto a, auto b) { return target(a) < target(b); });
  std::vector<std::int64_t> table_rows;
  for (const std::int64_t i : samples) {
    places.push_back(target(i));
    table_rows.push_back(classes_.rows[static_cast<std::size_t>(target(i))].v);
  }
  own_samples_ = at::tensor(samples, at::kLong);
  own_rows_ = at::tensor(places, at::kLong);

  const at::Tensor x = unit_rows(embeddings_.index_select(0, own_samples_).to(at::kDouble));
  const at::Tensor w = unit_rows(
      table_.weights().index_select(0, at::tensor(table_rows, at::kLong)).to(at::kDouble));
  const at::Tensor cosines = (x * w).sum(1);
  d_own_sample_ = at::addcmul(w, cosines.unsqueeze(1), x, -1).to(at::kFloat);
  d_own_center_ = at::addcmul(x, cosines.unsqueeze(1), w, -1).to(at::kFloat);
  own_phi_ = at::empty_like(cosines);
  own_slope_ = at::empty_like(cosines);
  for (std::int64_t k = 0; k < std::ssize(samples); ++k) {
    const MarginValue phi = options_.margin(cosines.const_data_ptr<double>()[k]);
    own_phi_.data_ptr<double>()[k] = phi.value;
    own_slope_.data_ptr<double>()[k] = phi.slope;
  }
}

template <typename Body>
void PartialFc::for_each_tile(const Body& body) const {
  const std::int64_t rows = std::ssize(classes_.rows), owned = own_rows_.size(0);
  const std::int64_t* const places = own_rows_.const_data_ptr<std::int64_t>();
  Tile tile{};
  for (; tile.begin < rows;
       ++tile.number, tile.begin = tile.end, tile.first_owned = tile.last_owned) {
    tile.end = std::min(tile.begin + options_.tile_rows, rows);
    while (tile.last_owned < owned && places[tile.last_owned] < tile.end) ++tile.last_owned;
    body(tile);
  }
}

std::span<const LocalRow> PartialFc::rows(const Tile& tile) const {
  return std::span(classes_.rows)
      .subspan(static_cast<std::size_t>(tile.begin), static_cast<std::size_t>(tile.rows()));
}

at::Tensor PartialFc::probabilities(const Tile& tile) const {
  return probabilities_.narrow(0, keep_ ? tile.begin : 0, tile.rows());
}

/// [tile, N]: cosines of the tile's classes and the samples; φ in place of a sample's own, −∞ where
/// the filter masks.
at::Tensor PartialFc::cosines(const Tile& tile, const at::Tensor& unit) const {
  table_.gather_normalize(rows(tile), unit, inverse_norm_.narrow(0, tile.begin, tile.rows()));
  at::Tensor z = probabilities(tile);
  at::mm_out(z, unit, embeddings_.t());
  if (options_.interclass_filter > 0) mask_above(z, options_.interclass_filter);
  const std::int64_t batch = z.size(1);
  for (std::int64_t k = tile.first_owned; k < tile.last_owned; ++k) {
    const std::int64_t row = own_rows_.const_data_ptr<std::int64_t>()[k] - tile.begin;
    const std::int64_t sample = own_samples_.const_data_ptr<std::int64_t>()[k];
    z.data_ptr<float>()[row * batch + sample] =
        static_cast<float>(own_phi_.const_data_ptr<double>()[k]);
  }
  return z;
}

void PartialFc::begin(const SampledClasses& classes, const at::Tensor& valid) {
  TORCH_CHECK(valid.sizes() == at::IntArrayRef({std::ssize(classes.targets)}),
              "the head wants a weight for each of ", classes.targets.size(), " samples, got ",
              valid.sizes());
  classes_ = classes;
  step_valid_ = valid;
  accumulating_ = false;
  loss_ = 0;
}

void PartialFc::forward(const at::Tensor& embeddings, std::int64_t first) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(embeddings.dim() == 2 && embeddings.size(1) == options_.dim &&
                  embeddings.scalar_type() == at::kFloat,
              "the head wants embeddings [N, ", options_.dim, "] float32, got ", embeddings.sizes(),
              " ", embeddings.scalar_type());
  const std::int64_t samples = embeddings.size(0);
  TORCH_CHECK(first >= 0 && first + samples <= std::ssize(classes_.targets),
              "the head got the embeddings of samples ", first, " to ", first + samples - 1,
              ", the step has ", classes_.targets.size());
  embeddings_ = embeddings.contiguous();
  valid_ = step_valid_.narrow(0, first, samples);
  targets_ = std::span(classes_.targets)
                 .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(samples));
  reserve(samples, std::ssize(classes_.rows));
  prepare_own_classes();

  maximum_.fill_(-kInfinity);
  sum_.zero_();
  d_embeddings_.zero_();
  for_each_tile([&](const Tile& tile) {
    const at::Tensor unit = unit_.narrow(0, 0, tile.rows());
    const at::Tensor z = cosines(tile, unit);
    const at::Tensor before = maximum_.clone();
    raise_maximum(z, options_.scale, maximum_);
    if (!before.equal(maximum_)) {  // what was summed so far was relative to the old maximum
      const at::Tensor shrink = (before - maximum_).exp_().nan_to_num_(1);
      sum_.mul_(shrink);
      d_embeddings_.mul_(shrink.unsqueeze(1));
    }
    tile_maximum_[tile.number].copy_(maximum_);
    sum_.add_(exponentiate(z, options_.scale, maximum_));
    d_embeddings_.addmm_(z.t(), unit);
  });
}

void PartialFc::exchange(Communicator& comm) {
  const at::NoGradGuard no_grad;
  const std::int64_t samples = maximum_.size(0);
  const at::Tensor own_logits = own_phi_ * options_.scale;
  const at::Tensor targets = at::full({samples}, -kInfinity, at::kFloat)
                                 .index_put_({own_samples_}, own_logits.to(at::kFloat));
  const at::Tensor all = comm.all_gather(at::stack({maximum_, sum_, targets}, 1))
                             .wait()
                             .view({comm.world(), samples, 3});
  const at::Tensor maxima = all.select(2, 0);
  const at::Tensor maximum = maxima.amax(0);
  log_sum_ = maximum + (all.select(2, 1) * (maxima - maximum).exp_()).sum(0).log_();
  const at::Tensor losses = log_sum_ - all.select(2, 2).amax(0);
  const at::Tensor count = step_valid_.sum();
  loss_ += (at::where(valid_ > 0, losses, at::zeros_like(losses)).sum(at::kDouble) / count)
               .item<double>();

  weight_ = valid_ * (options_.scale / count);
  d_embeddings_.mul_((weight_ * (maximum_ - log_sum_).exp_()).unsqueeze(1));
  // The GEMMs took a sample's own cosine for any other: p, where the margin makes it (p − 1)·φ′.
  const at::Tensor log_p = own_logits - log_sum_.index_select(0, own_samples_).to(at::kDouble);
  const at::Tensor lacking = log_p.exp() - log_p.expm1() * own_slope_;
  own_weight_ = (weight_.index_select(0, own_samples_) * lacking).to(at::kFloat).unsqueeze(1);
  d_embeddings_.index_add_(0, own_samples_, d_own_sample_ * own_weight_, -1);
}

template <typename Body>
void PartialFc::for_each_gradient(Pending& in_flight, const Body& body) {
  if (!std::isfinite(loss_)) return;
  const at::NoGradGuard no_grad;
  const at::Tensor own_terms = d_own_center_ * own_weight_;
  at::Tensor weighted =
      embeddings_ * weight_.unsqueeze(1);  // [N, d], by what a tile's probabilities lack
  at::Tensor shift = log_sum_;             // [N], what they are relative to
  for_each_tile([&](const Tile& tile) {
    in_flight.poll();
    at::Tensor p = probabilities(tile);
    if (!keep_) {
      cosines(tile, unit_.narrow(0, 0, tile.rows()));
      exponentiate(p, options_.scale, log_sum_);
    } else if (!tile_maximum_[tile.number].equal(shift)) {
      shift = tile_maximum_[tile.number];
      at::mul_out(weighted, embeddings_, (weight_ * (shift - log_sum_).exp_()).unsqueeze(1));
    }
    at::Tensor d_unit = unit_.narrow(0, 0, tile.rows());
    at::mm_out(d_unit, p, weighted);
    if (const std::int64_t owned = tile.last_owned - tile.first_owned; owned > 0) {
      d_unit.index_add_(0, own_rows_.narrow(0, tile.first_owned, owned) - tile.begin,
                        own_terms.narrow(0, tile.first_owned, owned), -1);
    }
    body(tile, d_unit);
  });
}

void PartialFc::update(double lr, Pending& in_flight) {
  for_each_gradient(in_flight, [&](const Tile& tile, const at::Tensor& d_unit) {
    if (accumulating_) d_unit.add_(d_unit_so_far_.narrow(0, tile.begin, tile.rows()));
    table_.update(rows(tile), d_unit, inverse_norm_.narrow(0, tile.begin, tile.rows()), lr);
  });
}

void PartialFc::accumulate(Pending& in_flight) {
  const std::int64_t most = inverse_norm_.size(0);
  if (!d_unit_so_far_.defined() || d_unit_so_far_.size(0) < most)
    d_unit_so_far_ = at::empty({most, options_.dim}, at::kFloat);
  for_each_gradient(in_flight, [&](const Tile& tile, const at::Tensor& d_unit) {
    at::Tensor so_far = d_unit_so_far_.narrow(0, tile.begin, tile.rows());
    if (accumulating_) {
      so_far.add_(d_unit);
    } else {
      so_far.copy_(d_unit);
    }
  });
  accumulating_ = true;
}

}  // namespace pfc
