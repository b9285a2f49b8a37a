// Checkpoints that several ranks write and read together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/types.h>

#include <csignal>

#include "comm/first_failure.h"
#include "head/center_format.h"
#include "head/host_rows.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/paths.h"
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

/// A folder that the first rank creates and all ranks use.
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

/// The objects that a rank trains, as if it had taken this many steps.
struct Trained {
  Trained(Communicator& comm, int steps)
      : backbone(make_backbone("tiny", 8, 1)),
        optimizer(make_backbone_optimizer("sgd", backbone->named_parameters(), {.momentum = 0.9})),
        table(ClassShard(1001, comm.rank(), comm.world()), {.dim = 8}),
        loss(0.25 * steps) {
    run.step = steps;
    run.add("loss", loss);
    for (int step = 0; step < steps; ++step) {
      for (at::Tensor& parameter : backbone->parameters())
        parameter.mutable_grad() = at::full_like(parameter, 0.5 + step);
      optimizer->step(0.1, at::zeros({1}));
      const LocalRow row{step};
      HostRows(TableState::of(table)).update({&row, 1}, at::ones({1, 8}), at::ones({1}), 0.1);
      TableState::of(table).end_step(0.1);
    }
  }
  TrainState state() { return {run, *backbone, *optimizer, table, identities}; }

  std::shared_ptr<Backbone> backbone;
  std::unique_ptr<BackboneOptimizer> optimizer;
  CenterTable table;
  ClassIdentities identities{.classes = 1001};
  double loss;
  RunState run;
};

Manifest manifest() {
  Manifest manifest;
  manifest.images = manifest.identities = 1001;
  return manifest;
}

std::string bytes_of(const BackboneOptimizer& optimizer) {
  const TemporaryFolder folder;
  optimizer.save(folder / "optimizer");
  return read_file(folder / "optimizer");
}

void expect_equal(Trained& found, Trained& want) {
  for (const auto& item : want.backbone->named_parameters())
    EXPECT_TRUE(found.backbone->named_parameters()[item.key()].equal(item.value())) << item.key();
  EXPECT_EQ(bytes_of(*found.optimizer), bytes_of(*want.optimizer));
  EXPECT_EQ(found.run.step, want.run.step);
  EXPECT_EQ(found.loss, want.loss);
  const auto parts = want.table.parts();
  for (std::size_t i = 0; i < parts.size(); ++i)
    EXPECT_TRUE(found.table.parts()[i].second.equal(parts[i].second)) << parts[i].first;
}

std::vector<std::string> names_of(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::path& entry : entries_of(folder)) names.push_back(entry.filename());
  return names;
}

/// While this lives, no file of this process can grow beyond this size, as if the disk were full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_{};
};

class Notes {
 public:
  std::function<void(const std::string&)> taker() {
    return [this](const std::string& note) { notes.push_back(note); };
  }
  std::vector<std::string> notes;
};

void save(Trained& trained, std::int64_t step, const fs::path& folder, Communicator& comm,
          std::int64_t keep_last = 2) {
  trained.run.step = step;
  Checkpoints({.folder = folder, .keep_last = keep_last}, comm, [](const auto&) {
  }).save(trained.state(), "tiny", 8, manifest());
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
    EXPECT_EQ(checkpoints.newest()->step, 5);  // damage is only noticed when it is read
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

TEST(RanksCheckpoint, ThatOneRankCannotWriteIsGivenUpByAllAndLeavesTheOnesBefore) {
  on_ranks([](Communicator& comm) {
    const SharedFolder folder(comm);
    Trained trained(comm, 1);
    save(trained, 1, folder.path(), comm);
    comm.barrier();
    {
      std::optional<FileSizeLimit> limit;  // too small for the network, which the first rank writes
      if (comm.is_first()) limit.emplace(1 << 20);
      comm.barrier();
      EXPECT_THAT(
          [&] { save(trained, 2, folder.path(), comm); },
          ThrowsMessage<NotSaved>(AllOf(HasSubstr("step-000000002.partial/backbone.safetensors"),
                                        HasSubstr("File too large"))));
      comm.barrier();
    }
    EXPECT_THAT(names_of(folder.path()), ElementsAre("step-000000001"));
    comm.barrier();
    save(trained, 2, folder.path(), comm);
    EXPECT_THAT(names_of(folder.path()), ElementsAre("step-000000001", "step-000000002"));
  });
}

TEST(RanksCheckpoint, ThatOneRankCannotReadStopsAllAndIsKept) {
  on_ranks([](Communicator& comm) {
    const SharedFolder folder(comm);
    Trained trained(comm, 1), found(comm, 0);
    save(trained, 1, folder.path(), comm);
    save(trained, 2, folder.path(), comm);
    const fs::path file =
        folder.path() / "step-000000002" / center_file_name(comm.world() - 1, comm.world());
    if (comm.is_first()) {
      fs::remove(file);
      fs::create_symlink("/disk/that/is/not/mounted", file);
    }
    comm.barrier();
    Checkpoints checkpoints({.folder = folder.path()}, comm, [](const auto&) {});
    EXPECT_THAT([&] { checkpoints.restore(found.state()); },
                ThrowsMessage<Error>(HasSubstr("a link to /disk/that/is/not/mounted")));
    comm.barrier();
    EXPECT_THAT(names_of(folder.path()), ElementsAre("step-000000001", "step-000000002"));
  });
}

TEST(RanksCheckpoint, LearnsOfTheFirstFailureOnAllRanks) {
  on_ranks([](Communicator& comm) {
    EXPECT_FALSE(first_failure("", comm));
    for (int failing = 0; failing < comm.world(); ++failing) {
      const std::string mine =
          comm.rank() < failing ? ""
                                : "I am " + std::string(static_cast<std::size_t>(comm.rank()), '.');
      const auto failure = first_failure(mine, comm);
      EXPECT_EQ(failure.value_or(RankFailure{.rank = -1}).rank, failing);
      const std::string who = comm.world() > 1 ? "rank " + std::to_string(failing) + ": " : "";
      EXPECT_EQ(failure.value_or(RankFailure{}).sentence,
                who + "I am " + std::string(static_cast<std::size_t>(failing), '.'));
    }
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
      write_text(folder.path() / "plot.partial", "the user's");
    }
    comm.barrier();
    Trained trained(comm, 1);
    for (const std::int64_t step : {1, 2, 3, 4}) save(trained, step, folder.path(), comm, 2);
    EXPECT_THAT(names_of(folder.path()),
                ElementsAre("notes.txt", "plot.partial", "step-000000003", "step-000000004"));
  });
}

}  // namespace
}  // namespace pfc
