#include "pfc/head/center_file.h"

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string_view>

#include "head/center_format.h"
#include "head/host_rows.h"
#include "head/saved_centers.h"
#include "pfc/base/error.h"
#include "pfc/base/memory.h"
#include "pfc/formats/safetensors.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Update = CenterOptimizer::Update;

constexpr std::int64_t kClasses = 11, kDim = 5;

/// Every kind of table.
std::map<std::string, CenterTableOptions> tables() {
  std::map<std::string, CenterTableOptions> all;
  const CenterTableOptions sgd{.dim = kDim, .seed = 3};
  all["sgd"] = sgd;
  all["no momentum"] = sgd;
  all["no momentum"].optimizer.momentum = 0;
  all["bfloat16"] = sgd;
  all["bfloat16"].weights = all["bfloat16"].state = NumberType::kBFloat16;
  all["dense_equivalent"] = sgd;
  all["dense_equivalent"].optimizer = {.weight_decay = 0.1, .update = Update::kDenseEquivalent};
  all["dense_equivalent without momentum"] = all["dense_equivalent"];
  all["dense_equivalent without momentum"].optimizer.momentum = 0;
  all["adamw"] = sgd;
  all["adamw"].optimizer = {.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = 0.1};
  return all;
}

/// Steps `begin` to `end`. Each samples every third class; gradients are a function of (step,
/// class).
void go_on(CenterTable& table, std::int64_t begin, std::int64_t end) {
  HostRows rows(TableState::of(table));
  for (std::int64_t step = begin; step < end; ++step) {
    const double lr = 0.1 / static_cast<double>(step + 1);
    for (std::int64_t c = step % 3; c < kClasses; c += 3) {
      if (!table.shard().owns({c})) continue;
      const LocalRow row = table.shard().row({c});
      const at::Tensor unit = at::empty({1, kDim}), inverse = at::empty({1});
      rows.gather_normalize({&row, 1}, unit, inverse);
      const at::Tensor gradient =
          at::sin(at::arange(kDim) + static_cast<double>(step * kClasses + c)).view({1, kDim});
      rows.update({&row, 1}, gradient, inverse, lr);
    }
    TableState::of(table).end_step(lr);
  }
}

/// Saves `kind`'s table after `steps` with `world` ranks; returns the files' checksums.
std::vector<Checksums> save(const TemporaryFolder& folder, const CenterTableOptions& options,
                            std::int64_t steps, int world) {
  std::vector<Checksums> sums;
  for (int rank = 0; rank < world; ++rank) {
    CenterTable table(ClassShard(kClasses, rank, world), options);
    go_on(table, 0, steps);
    sums.push_back(save_centers(table, {.classes = table.shard().classes()},
                                folder / center_file_name(rank, world)));
  }
  return sums;
}

TEST(CenterFile, HoldsTheTableInItsTypesAndItsRangeOfClasses) {
  const TemporaryFolder folder;
  CenterTable table(ClassShard(kClasses, 1, 3), tables()["bfloat16"]);
  save_centers(table, {.classes = table.shard().classes()}, folder / "centers.safetensors");
  const SafetensorsFile file(folder / "centers.safetensors");
  const TensorView& found = file.tensor("centers");
  EXPECT_EQ(found.dtype, "BF16");
  EXPECT_EQ(found.shape, (std::vector<std::int64_t>{4, 5}));
  EXPECT_EQ(file.metadata("classes"), "11");
  EXPECT_EQ(file.metadata("first_class"), "4");
  const at::Tensor read =
      at::from_blob(const_cast<std::byte*>(found.bytes.data()), {4, 5}, at::kBFloat16);
  EXPECT_TRUE(read.equal(table.weights()));
  EXPECT_EQ(file.tensor("momentum").shape, found.shape);
}

TEST(CenterFile, GoesOnBitForBitOnAnyNumberOfRanks) {
  for (const auto& [kind, options] : tables()) {
    CenterTable whole(ClassShard(kClasses, 0, 1), options);
    go_on(whole, 0, 9);
    for (const int saved_by : {1, 3, 4}) {
      const TemporaryFolder folder;
      const auto sums = save(folder, options, 5, saved_by);
      for (const int world : {1, 2, 3, 4}) {
        for (int rank = 0; rank < world; ++rank) {
          const ClassShard shard(kClasses, rank, world);
          CenterTable table(shard, options);
          table.weights().fill_(7);  // none of this may remain
          load_centers(table, 5, saved_by, [&](int of) {
            return CheckedFile(folder / center_file_name(of, saved_by),
                               sums[static_cast<std::size_t>(of)]);
          });
          go_on(table, 5, 9);
          const auto parts = table.parts(), want = whole.parts();
          ASSERT_EQ(parts.size(), want.size());
          for (std::size_t i = 0; i < parts.size(); ++i) {
            EXPECT_TRUE(
                parts[i].second.equal(want[i].second.narrow(0, shard.begin().v, shard.rows())))
                << kind << ", " << parts[i].first << ", saved by " << saved_by << ", rank " << rank
                << " of " << world;
          }
        }
      }
    }
  }
}

TEST(CenterFile, LeavesWhatRowsMissedAsItWasUnderAnotherMomentumAndDecay) {
  const CenterTableOptions then = tables()["dense_equivalent"];
  CenterTableOptions now = then;
  now.optimizer.weight_decay = 0.5;
  now.optimizer.momentum = 0.5;
  const TemporaryFolder folder;
  const auto sums = save(folder, then, 5, 1);
  CenterTable want(ClassShard(kClasses, 0, 1), then), found(ClassShard(kClasses, 0, 1), now);
  go_on(want, 0, 5);
  want.catch_up();
  load_centers(found, 5, 1,
               [&](int) { return CheckedFile(folder / center_file_name(0, 1), sums[0]); });
  found.catch_up();
  for (std::size_t i = 0; i < want.parts().size(); ++i)
    EXPECT_TRUE(found.parts()[i].second.equal(want.parts()[i].second)) << want.parts()[i].first;

  // A further step must depend only on the new momentum and decay.
  const at::Tensor w = found.weights().clone(), v = found.part("momentum").clone();
  TableState::of(found).end_step(0.1);
  found.catch_up();
  const at::Tensor next = 0.5 * v + 0.5 * w;
  EXPECT_TRUE(found.part("momentum").allclose(next, 1e-6, 1e-9));
  EXPECT_TRUE(found.weights().allclose(w - 0.1 * next, 1e-6, 1e-9));
}

TEST(CenterFile, OfSeveralPiecesIsTheSameTable) {
  constexpr std::int64_t kMany = 20'000, kWide = 512;  // 40 MB a part, through pieces of 8 MiB
  const TemporaryFolder folder;
  std::vector<Checksums> sums;
  for (int rank = 0; rank < 2; ++rank) {
    const CenterTable table(ClassShard(kMany, rank, 2), {.dim = kWide, .seed = 3});
    sums.push_back(save_centers(table, {.classes = table.shard().classes()},
                                folder / center_file_name(rank, 2)));
  }
  const CenterTable whole(ClassShard(kMany, 0, 1), {.dim = kWide, .seed = 3});
  for (int rank = 0; rank < 3; ++rank) {
    const ClassShard shard(kMany, rank, 3);
    CenterTable table(shard, {.dim = kWide, .seed = 4});
    load_centers(table, 0, 2, [&](int of) {
      return CheckedFile(folder / center_file_name(of, 2), sums[static_cast<std::size_t>(of)]);
    });
    EXPECT_TRUE(table.weights().equal(whole.weights().narrow(0, shard.begin().v, shard.rows())));
  }
}

TEST(CenterFile, OpensOnlyFilesThatHoldItsRows) {
  const TemporaryFolder folder;
  const auto sums = save(folder, tables()["sgd"], 0, 4);
  CenterTable table(ClassShard(kClasses, 1, 2), tables()["sgd"]);  // classes 6 to 10
  std::vector<int> opened;
  load_centers(table, 0, 4, [&](int rank) {
    opened.push_back(rank);
    return CheckedFile(folder / center_file_name(rank, 4), sums[static_cast<std::size_t>(rank)]);
  });
  EXPECT_THAT(opened, testing::ElementsAre(2, 3));
}

TEST(CenterFile, IsRefusedByATableOfAnotherKind) {
  const TemporaryFolder folder;
  const auto expect = [&](const std::string& saved, const CenterTableOptions& options,
                          std::int64_t classes, const std::string& sentence) {
    const auto sums = save(folder, tables()[saved], 2, 1);
    CenterTable table(ClassShard(classes, 0, 1), options);
    EXPECT_THAT(
        [&] {
          load_centers(table, 2, 1,
                       [&](int) { return CheckedFile(folder / center_file_name(0, 1), sums[0]); });
        },
        ThrowsMessage<DataError>(HasSubstr(sentence)))
        << saved;
  };
  CenterTableOptions wide = tables()["sgd"];
  wide.dim = 6;
  expect("sgd", wide, kClasses, "tensor 'centers': F32 [11, 5], want F32 [11, 6]");
  expect("sgd", tables()["bfloat16"], kClasses, "F32 [11, 5], want BF16 [11, 5]");
  expect("sgd", tables()["sgd"], 12, "classes '11', want '12'");
  expect("no momentum", tables()["sgd"], kClasses, "tensor 'momentum': missing");
  expect("sgd", tables()["no momentum"], kClasses,
         "tensor 'momentum': this run's class centres have no such part");
  expect("adamw", tables()["sgd"], kClasses, "tensor 'squares'");
}

TEST(CenterFile, IsWrittenAndReadWithoutACopyOfTheTable) {
  const TemporaryFolder folder;
  const CenterTableOptions options{.dim = 512};
  CenterTable table(ClassShard(60'000, 0, 1), options);  // 246 MB with momentum
  reset_peak_memory();
  const std::int64_t before = peak_memory();
  if (before == 0) GTEST_SKIP() << "the system does not tell";
  const Checksums sums =
      save_centers(table, {.classes = table.shard().classes()}, folder / "centers.safetensors");
  load_centers(table, 0, 1, [&](int) { return CheckedFile(folder / "centers.safetensors", sums); });
  EXPECT_LT(peak_memory() - before, 32 << 20);
}

TEST(SavedCenters, AreThoseOfTheTableWhateverItsTypeAndRanks) {
  for (const auto& [kind, options] : tables()) {
    for (const int world : {1, 3}) {
      const TemporaryFolder folder;
      save(folder, options, 5, world);
      CenterTable whole(ClassShard(kClasses, 0, 1), options);
      go_on(whole, 0, 5);
      const SavedCenters saved(folder.path());
      EXPECT_EQ(saved.classes(), kClasses);
      EXPECT_EQ(saved.dim(), kDim);
      for (std::int64_t c = 0; c < kClasses; ++c) {
        const at::Tensor row = at::empty({1, kDim});
        saved.read({c}, {row.data_ptr<float>(), kDim});
        const LocalRow local{c};
        EXPECT_TRUE(row.equal(whole.rows({&local, 1}))) << kind << ", class " << c;
      }
    }
  }
}

/// What SavedCenters reads after `world` ranks saved centres with these identities.
std::optional<ClassIdentities> read_back(const ClassIdentities& identities, int world) {
  const TemporaryFolder folder;
  for (int rank = 0; rank < world; ++rank) {
    const CenterTable table(ClassShard(kClasses, rank, world), {.dim = kDim});
    save_centers(table, identities, folder / center_file_name(rank, world));
  }
  return SavedCenters(folder.path()).identities();
}

TEST(SavedCenters, SayWhoseTheyAre) {
  const ClassIdentities plain{.classes = kClasses, .below = kClasses + 3};
  ClassIdentities numbered{.classes = kClasses, .below = 100}, named{.classes = kClasses};
  for (std::int64_t c = 0; c < kClasses; ++c) {
    numbered.numbers.push_back(static_cast<std::int32_t>(99 - 7 * c));
    named.names.push_back("per, son\n" + std::to_string(c * c));
  }
  for (const int world : {1, 3, 4})
    for (const ClassIdentities& identities : {plain, numbered, named})
      EXPECT_EQ(read_back(identities, world), identities) << world;
}

TEST(SavedCenters, OfAnOlderVersionDoNotSayWhoseTheyAre) {
  const TemporaryFolder folder;
  const std::vector<float> rows(kClasses * kDim);
  write_safetensors(
      folder / center_file_name(0, 1),
      std::vector<TensorView>{{"centers", "F32", {kClasses, kDim}, std::as_bytes(std::span(rows))}},
      {{"format", kCenterFormat}, {"classes", "11"}, {"first_class", "0"}});
  EXPECT_EQ(SavedCenters(folder.path()).identities(), std::nullopt);
}

TEST(SavedCenters, RefuseIdentitiesThatCannotBe) {
  const auto expect = [](const char* called, const char* dtype, std::int64_t count,
                         std::string_view bytes, const std::string& sentence) {
    const TemporaryFolder folder;
    const std::vector<float> rows(2 * kDim);
    write_safetensors(
        folder / center_file_name(0, 1),
        std::vector<TensorView>{{"centers", "F32", {2, kDim}, std::as_bytes(std::span(rows))},
                                {kIdentities, dtype, {count}, std::as_bytes(std::span(bytes))}},
        {{"format", kCenterFormat},
         {"classes", "2"},
         {"first_class", "0"},
         {kIdentities, called},
         {kIdentitiesBelow, "9"}});
    EXPECT_THAT([&] { SavedCenters(folder.path()).identities(); },
                ThrowsMessage<DataError>(HasSubstr(sentence)));
  };
  using std::string_view_literals::operator""sv;
  expect("numbers", "I32", 1, "\1\0\0\0"sv, "identities: I32 [1], want I32 [2]");
  expect("numbers", "F32", 2, "\1\0\0\0\2\0\0\0"sv, "identities: F32 [2], want I32 [2]");
  expect("numbers", "I32", 2, "\1\0\0\0\11\0\0\0"sv, "identities: 9, want 0 to 8");
  expect("names", "U8", 3, "a\0b"sv, "identities: want 2 names, each ended by a 0");
  expect("letters", "U8", 4, "a\0b\0"sv, "identities: 'letters' is no way to call them");
}

TEST(SavedCenters, NameAFileThatIsMissingOrOfOtherOnes) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { SavedCenters{folder.path()}; },
              ThrowsMessage<Error>(HasSubstr("holds no class centres")));
  save(folder, tables()["sgd"], 0, 3);
  std::filesystem::remove(folder / center_file_name(1, 3));
  EXPECT_THAT([&] { SavedCenters{folder.path()}; },
              ThrowsMessage<Error>(HasSubstr("centers-00002-of-00003.safetensors")));
  CenterTableOptions wide = tables()["sgd"];
  wide.dim = 6;
  CenterTable other(ClassShard(kClasses, 1, 3), wide);
  save_centers(other, {.classes = kClasses}, folder / center_file_name(1, 3));
  EXPECT_THAT([&] { SavedCenters{folder.path()}; },
              ThrowsMessage<DataError>(HasSubstr("belongs to other class centres")));
}

}  // namespace
}  // namespace pfc
