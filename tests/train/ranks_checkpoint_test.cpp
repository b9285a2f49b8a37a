// Checkpoints that several ranks write and read together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include "head/center_format.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/head/center_file.h"
#include "pfc/train/checkpoint.h"
#include "ranks.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

/// A folder that the first rank makes and all use.
class SharedFolder {
 public:
  explicit SharedFolder(Communicator& comm) : comm_(comm) {
    at::Tensor name = at::zeros({4096}, at::kByte);
    if (comm.is_first()) {
      own_.emplace();
      std::ranges::copy(own_->path().string(), name.mutable_data_ptr<std::uint8_t>());
    }
    comm.broadcast(name).wait();
    path_ = reinterpret_cast<const char*>(name.const_data_ptr<std::uint8_t>());
  }
  ~SharedFolder() { comm_.barrier(); }
  const fs::path& path() const { return path_; }

 private:
  Communicator& comm_;
  std::optional<TemporaryFolder> own_;
  fs::path path_;
};

/// What a rank trains, as if it had taken so many steps.
struct Trained {
  Trained(Communicator& comm, int steps)
      : backbone(make_backbone("tiny", 8, 1)),
        optimizer(backbone->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9)),
        table(ClassShard(1001, comm.rank(), comm.world()), {.dim = 8}) {
    for (int step = 0; step < steps; ++step) {
      for (at::Tensor& parameter : backbone->parameters())
        parameter.mutable_grad() = at::full_like(parameter, 0.5 + step);
      optimizer.step();
      const LocalRow row{step};
      table.update({&row, 1}, at::ones({1, 8}), at::ones({1}), 0.1);
      table.end_step(0.1);
    }
  }
  TrainState state() { return {*backbone, optimizer, table, identities}; }

  std::shared_ptr<Backbone> backbone;
  torch::optim::SGD optimizer;
  CenterTable table;
  ClassIdentities identities{.classes = 1001};
};

Manifest manifest_of(std::int64_t step) {
  Manifest manifest;
  manifest.step = step;
  manifest.images = manifest.identities = 1001;
  return manifest;
}

void expect_equal(Trained& found, Trained& want) {
  for (const auto& item : want.backbone->named_parameters())
    EXPECT_TRUE(found.backbone->named_parameters()[item.key()].equal(item.value())) << item.key();
  EXPECT_EQ(found.optimizer.state().size(), want.optimizer.state().size());
  const auto parts = want.table.parts();
  for (std::size_t i = 0; i < parts.size(); ++i)
    EXPECT_TRUE(found.table.parts()[i].second.equal(parts[i].second)) << parts[i].first;
}

class Notes {
 public:
  std::function<void(const std::string&)> taker() {
    return [this](const std::string& note) { notes.push_back(note); };
  }
  std::vector<std::string> notes;
};

void save(Trained& trained, std::int64_t step, const fs::path& folder, Communicator& comm,
          std::int64_t keep_last = 2) {
  Checkpoints({.folder = folder, .keep_last = keep_last}, comm, [](const auto&) {
  }).save(trained.state(), "tiny", 8, manifest_of(step));
}

TEST(RanksCheckpoint, RestoresWhatEachRankSaved) {
  on_ranks([](Communicator& comm) {
    const SharedFolder folder(comm);
    Trained want(comm, 3), found(comm, 0);
    save(want, 3, folder.path(), comm);
    Notes notes;
    Checkpoints checkpoints({.folder = folder.path()}, comm, notes.taker());
    EXPECT_EQ(checkpoints.newest()->step, 3);
    const Manifest manifest = checkpoints.restore(found.state());
    EXPECT_EQ(manifest.world, comm.world());
    EXPECT_EQ(manifest.files.size(), static_cast<std::size_t>(comm.world()) + 2);
    expect_equal(found, want);
    EXPECT_THAT(notes.notes, IsEmpty());
  });
}

TEST(RanksCheckpoint, FallsBackOnAllRanksWhereOneMeetsADamagedFile) {
  on_ranks([](Communicator& comm) {
    const SharedFolder folder(comm);
    Trained want(comm, 3), later(comm, 5), found(comm, 9);
    save(want, 3, folder.path(), comm);
    save(later, 5, folder.path(), comm);
    const int last = comm.world() - 1;
    const std::string name = center_file_name(last, comm.world());
    if (comm.is_first()) {
      const fs::path file = folder.path() / "step-000000005" / name;
      std::string bytes = read_file(file);
      bytes.back() ^= 1;
      write_text(file, bytes);
    }
    Notes notes;
    Checkpoints checkpoints({.folder = folder.path()}, comm, notes.taker());
    EXPECT_EQ(checkpoints.newest()->step, 5);  // whether it is whole shows when it is read
    EXPECT_EQ(checkpoints.restore(found.state()).step, 3);
    expect_equal(found, want);
    if (comm.rank() == last) {
      EXPECT_THAT(notes.notes.at(0),
                  AllOf(HasSubstr("this checkpoint cannot be used: "), HasSubstr(name),
                        HasSubstr("altered since it was written")));
    }
    comm.barrier();
    EXPECT_TRUE(fs::exists(folder.path() / "step-000000005.damaged"));
    EXPECT_FALSE(fs::exists(folder.path() / "step-000000005"));
  });
}

TEST(RanksCheckpoint, IsNoneWithoutItsManifestAndTheLastOneIsRefused) {
  on_ranks([](Communicator& comm) {
    const SharedFolder folder(comm);
    EXPECT_FALSE(Checkpoints({.folder = folder.path()}, comm, [](const auto&) {}).newest());
    Trained trained(comm, 1);
    save(trained, 1, folder.path(), comm);
    if (comm.is_first()) fs::remove(folder.path() / "step-000000001" / "manifest.json");
    comm.barrier();
    EXPECT_THAT([&] { Checkpoints({.folder = folder.path()}, comm, [](const auto&) {}).newest(); },
                ThrowsMessage<Error>(HasSubstr("no checkpoint is whole")));
  });
}

TEST(RanksCheckpoint, TakesThePlaceOfWhatACrashLeftAndOfOldOnes) {
  on_ranks([](Communicator& comm) {
    const SharedFolder folder(comm);
    if (comm.is_first()) {
      write_text(folder.path() / "step-000000001.partial" / "backbone.safetensors", "half");
      write_text(folder.path() / "step-000000002.partial" / "backbone.safetensors", "half");
      write_text(folder.path() / "step-000000000.removed" / "backbone.safetensors", "half");
      write_text(folder.path() / "notes.txt", "the user's");
    }
    comm.barrier();
    Trained trained(comm, 1);
    for (const std::int64_t step : {1, 2, 3, 4}) save(trained, step, folder.path(), comm, 2);
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder.path()))
      names.push_back(entry.path().filename());
    std::ranges::sort(names);
    EXPECT_THAT(names, ElementsAre("notes.txt", "step-000000003", "step-000000004"));
  });
}

}  // namespace
}  // namespace pfc
