#include "pfc/train/run_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <limits>

#include "pfc/base/error.h"
#include "ranks.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Whole = std::vector<std::int64_t>;
using Real = std::vector<double>;

/// Owners of numbers of each kind.
struct Numbers {
  explicit Numbers(double first) {
    state.step = count = static_cast<std::int64_t>(first);
    mean = first + 0.1;
    moving = torch::tensor({first, first / 3}, at::kDouble);
    factor = torch::full({1}, first, at::kFloat);
    in_a_row = torch::full({1}, first, at::kInt);
    state.add("count", count, {.least = 0});
    state.add("mean", mean);
    state.add("moving", moving);
    state.add("factor", factor, {.is_optional = true});
    state.add("in_a_row", in_a_row);
  }

  Manifest saved() const {
    Manifest manifest{.images = 1, .identities = 1};
    state.save(manifest);
    return parse_manifest(to_json(manifest), "manifest.json");
  }

  std::int64_t count = 0;
  double mean = 0;
  at::Tensor moving, factor, in_a_row;
  RunState state;
};

void expect_equal(const Numbers& found, const Numbers& want) {
  EXPECT_EQ(found.state.step, want.state.step);
  EXPECT_EQ(found.count, want.count);
  EXPECT_EQ(found.mean, want.mean);
  EXPECT_TRUE(found.moving.equal(want.moving));
  EXPECT_TRUE(found.factor.equal(want.factor));
  EXPECT_TRUE(found.in_a_row.equal(want.in_a_row));
}

TEST(RunState, IsAfterLoadingWhatWasSaved) {
  const Numbers want(7);
  Numbers found(0);
  const at::Tensor in_place = found.moving;
  found.state.load(want.saved(), "manifest.json");
  expect_equal(found, want);
  EXPECT_TRUE(in_place.equal(want.moving));
}

TEST(RunState, KeepsWholeNumbersThatADoubleCannotHold) {
  Numbers want(0), found(0);
  want.count = std::numeric_limits<std::int64_t>::max();
  found.state.load(want.saved(), "manifest.json");
  EXPECT_EQ(found.count, want.count);
}

TEST(RunState, LeavesAnOptionalNumberThatWasNotSavedAndOneThatNobodyHas) {
  const Numbers other(7);
  Manifest manifest = other.saved();
  manifest.state.erase("factor");
  manifest.state["unknown"] = Real{1, 2, 3};
  Numbers found(1);
  found.state.load(manifest, "manifest.json");
  EXPECT_EQ(found.factor.item<float>(), 1);
  EXPECT_EQ(found.count, 7);
}

TEST(RunState, HasNothingToKeepOfATensorWithoutNumbers) {
  RunState state;
  state.add("of most losses", at::Tensor());
  state.add("of others", torch::empty(0, at::kDouble));
  Manifest manifest;
  state.save(manifest);
  EXPECT_TRUE(manifest.state.empty());
  state.load(manifest, "manifest.json");
}

TEST(RunState, RefusesWhatIsMissingOrIllTypedAndNamesIt) {
  const auto expect = [](const char* name, const std::optional<SavedNumbers>& saved,
                         const std::string& what) {
    const Numbers other(7), before(1);
    Manifest manifest = other.saved();
    manifest.state.erase(name);
    if (saved) manifest.state[name] = *saved;
    Numbers found(1);
    EXPECT_THAT(
        [&] { found.state.load(manifest, "manifest.json"); },
        ThrowsMessage<DataError>(HasSubstr(std::string("manifest.json: ") + name + ": " + what)));
    expect_equal(found, before);  // nothing is half loaded
  };
  expect("moving", {}, "missing");
  expect("moving", Real{1}, "1 number, want 2");
  expect("moving", Real{1, std::numeric_limits<double>::quiet_NaN()}, "not finite");
  expect("factor", Real{1e300}, "not finite");
  expect("count", Real{1.5}, "not a whole number, or too large");
  expect("count", Whole{-1}, "-1, want 0 or more");
  expect("in_a_row", Whole{std::int64_t{1} << 31}, "not a whole number, or too large");
}

TEST(RunState, IsNotSavedWhereANumberIsNotFinite) {
  Numbers numbers(1);
  numbers.moving[1] = std::numeric_limits<double>::infinity();
  EXPECT_THAT([&] { numbers.saved(); },
              ThrowsMessage<Error>(HasSubstr("moving, which checkpoints keep, is not finite")));
}

TEST(RunState, GivesANameToOneNumberOnly) {
  Numbers numbers(1);
  EXPECT_THAT([&] { numbers.state.add("mean", numbers.mean); },
              ThrowsMessage<Error>(HasSubstr("two numbers named mean")));
}

TEST(RanksRunState, IsTheFirstRanksOnAllRanks) {
  on_ranks([](Communicator& comm) {
    const Numbers first(5);
    Numbers mine(5 + comm.rank());
    mine.state.broadcast(comm);
    expect_equal(mine, first);
  });
}

}  // namespace
}  // namespace pfc
