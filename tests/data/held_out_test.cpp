#include "pfc/data/held_out.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "data/record_bytes.h"
#include "pfc/base/error.h"
#include "pfc/data/verification_set.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(HeldOut, HoldsSoManyIdentitiesWithTwoImagesAndNumbersBothKinds) {
  const std::vector<std::int64_t> counts = {3, 1, 0, 5, 2, 4, 1, 2};
  const HeldOut held({.identities = 3}, counts);
  std::set<std::int64_t> in, out;
  for (const std::int64_t identity : {0, 1, 3, 4, 5, 6, 7}) {
    const bool is_held = held.holds(identity);
    EXPECT_TRUE(!is_held || counts[static_cast<std::size_t>(identity)] >= 2);
    (is_held ? in : out).insert(held.number(identity));
  }
  EXPECT_EQ(in, (std::set<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(out, (std::set<std::int64_t>{0, 1, 2, 3}));
}

TEST(HeldOut, MakesDifferentPairsOfBothKindsInTurn) {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> counts(12, 6);
  HeldOut held({.identities = 8, .pairs = 80, .seed = 4}, counts);
  for (std::int64_t identity = 0; identity < 12; ++identity) {
    for (int i = 0; i < 6; ++i) {
      const auto image = bytes_of(std::to_string(identity) + "/" + std::to_string(i));
      if (held.holds(identity)) held.keep({identity, "", image});
    }
  }
  held.write_pairs(folder / "held_out.bin");
  const auto set = VerificationSet::open(folder / "held_out.bin");
  ASSERT_EQ(set.pairs(), 80);
  std::set<std::pair<std::string, std::string>> seen;
  for (std::int64_t p = 0; p < 80; ++p) {
    const std::string one = text_of(set.image(2 * p)), other = text_of(set.image(2 * p + 1));
    EXPECT_EQ(set.same(p), p % 2 == 0);
    EXPECT_EQ(set.same(p), one.substr(0, one.find('/')) == other.substr(0, other.find('/')));
    EXPECT_NE(one, other);
    EXPECT_TRUE(held.holds(std::stoll(one)));
    EXPECT_TRUE(seen.emplace(one, other).second);
  }
}

TEST(HeldOut, SaysWhereThereAreTooFew) {
  const std::vector<std::int64_t> counts = {2, 2, 1, 0};
  const auto fails_with = [&](const HeldOutOptions& options, const std::string& sentence) {
    EXPECT_THAT([&] { HeldOut(options, counts); }, ThrowsMessage<Error>(HasSubstr(sentence)));
  };
  fails_with({.identities = 3}, "of 3 identities 2 have two images or more");
  fails_with({.identities = 1}, "2 must be held out");
  fails_with({.identities = 2, .pairs = 20}, "at most 0");
  fails_with({.identities = 2, .pairs = 7}, "want a multiple of 20");
}

}  // namespace
}  // namespace pfc
