#include "head/online_softmax.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pfc {
namespace {

constexpr std::int64_t kSamples = 3, kDim = 16, kTileRows = 1000;
constexpr double kScale = 20;

/// Some tiles of random cosines and unit centres, processed in turn.
struct Softmax {
  std::vector<at::Tensor> cosines, units;

  OnlineSoftmax streamed(std::int64_t tiles) const {
    OnlineSoftmax softmax(at::empty({kSamples, kDim}, at::kFloat));
    softmax.clear();
    for (std::int64_t i = 0; i < tiles; ++i)
      softmax.add(cosines[number(i)].clone(), units[number(i)], kScale);
    softmax.finish();
    return softmax;
  }

  /// [N, 1 + d] in float64: the sum of exp(logit) and that times the unit centres.
  at::Tensor summed(std::int64_t tiles) const {
    std::vector<at::Tensor> each;
    for (std::size_t i = 0; i < cosines.size(); ++i) {
      const at::Tensor p = (cosines[i].to(at::kDouble) * kScale).exp_().t();
      each.push_back(at::cat({p.sum(1, true), p.mm(units[i].to(at::kDouble))}, 1));
    }
    at::Tensor all = at::zeros_like(each.front());
    for (std::int64_t i = 0; i < tiles; ++i) all += each[number(i)];
    return all;
  }

 private:
  std::size_t number(std::int64_t tile) const {
    return static_cast<std::size_t>(tile) % cosines.size();
  }
};

Softmax random_tiles(std::size_t count) {
  at::manual_seed(7);
  Softmax tiles;
  for (std::size_t i = 0; i < count; ++i) {
    tiles.cosines.push_back(at::randn({kTileRows, kSamples}) * 0.14);
    tiles.units.push_back(at::randn({kTileRows, kDim}) / 4 + 0.1);
  }
  return tiles;
}

void expect_equal(const OnlineSoftmax& found, const at::Tensor& want) {
  const at::Tensor factor = found.maximum.to(at::kDouble).exp();
  const at::Tensor sum = found.sum * factor, wanted = want.select(1, 0);
  EXPECT_LT(((sum - wanted) / wanted).abs().max().item<double>(), 1e-6);
  const at::Tensor d = found.d_embeddings.to(at::kDouble) * factor.unsqueeze(1);
  const at::Tensor wanted_d = want.narrow(1, 1, kDim);
  // Some BLAS add a tile's classes one after another to what the block's tiles have made so far,
  // which loses up to 7e-5 here (AMD Zen 4); others make their sum first, and lose 1e-6.
  EXPECT_LT(((d - wanted_d).norm(2, 1) / wanted_d.norm(2, 1)).max().item<double>(), 1e-4);
}

TEST(OnlineSoftmax, OfMillionsOfClassesLosesNoDigits) {
  const Softmax tiles = random_tiles(37);
  for (const std::int64_t millions : {1, 3, 10}) {
    SCOPED_TRACE(millions);
    const std::int64_t count = millions * 1'000'000 / kTileRows;
    expect_equal(tiles.streamed(count), tiles.summed(count));
  }
}

TEST(OnlineSoftmax, OfAMillionClassesBesideALargeOneLosesNoDigits) {
  Softmax tiles = random_tiles(1000);
  tiles.cosines[1][3].fill_(0.93);  // a quarter and more of the whole
  expect_equal(tiles.streamed(1000), tiles.summed(1000));
}

TEST(OnlineSoftmax, MergedEqualsOneThatMetAllTiles) {
  const Softmax tiles = random_tiles(200);
  Softmax first, second;
  for (std::size_t i = 0; i < 200; ++i) {
    Softmax& half = i < 130 ? first : second;
    half.cosines.push_back(tiles.cosines[i]);
    half.units.push_back(tiles.units[i]);
  }
  OnlineSoftmax merged = first.streamed(130);
  merged.merge(second.streamed(70));
  expect_equal(merged, tiles.summed(200));
}

}  // namespace
}  // namespace pfc
