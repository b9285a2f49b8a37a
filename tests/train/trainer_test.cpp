#include "pfc/train/trainer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "pfc/data/dataset.h"
#include "pfc/export/safetensors.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "train/output_folder.h"
#include "train/same_data.h"
#include "train/small_run.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

class Train : public SmallRun {};
class TrainOnRanks : public SmallRun {};

TEST_F(Train, LearnsAndLeavesEverythingInTheOutputFolder) {
  run();
  const fs::path output = config_.output;
  int evaluations = 0;
  for (const auto& line : metrics()) {
    if (line.contains("accuracy")) {
      ++evaluations;
      EXPECT_EQ(line["set"], "val");
    }
  }
  ASSERT_EQ(losses().size(), 3u);
  EXPECT_LT(losses().back(), losses().front());
  EXPECT_EQ(evaluations, 2);
  EXPECT_EQ(load_config(output / "config.toml", {}), config_);
  EXPECT_EQ(load_backbone(output / "last.safetensors")->parameters().size(),
            make_backbone("tiny", 32, 0)->parameters().size());
  EXPECT_NO_THROW(load_backbone(output / "best.safetensors"));
  EXPECT_THAT(read_file(output / "roc.svg"), HasSubstr("<svg"));

  const SafetensorsFile centers(at_the_end("centers-00001-of-00001.safetensors"));
  EXPECT_EQ(centers.tensor("centers").shape, (std::vector<std::int64_t>{kIdentities, 32}));
  EXPECT_EQ(centers.metadata("classes"), std::to_string(kIdentities));
  EXPECT_THAT(log_, HasSubstr("48 images of 12 identities"));
}

TEST_F(Train, IsBitEqualWhenItIsRunAgain) {
  config_.head.sample_rate = 0.5;
  run();
  const std::string backbone = read_file(fs::path(config_.output) / "last.safetensors");
  const std::string centers = read_file(at_the_end("centers-00001-of-00001.safetensors"));
  config_.output = folder_ / "again";
  run();
  EXPECT_EQ(read_file(fs::path(config_.output) / "last.safetensors"), backbone);
  EXPECT_EQ(read_file(at_the_end("centers-00001-of-00001.safetensors")), centers);
}

TEST_F(Train, LearnsWithAdamWAndMicroBatches) {
  config_.optimizer = {.kind = "adamw", .weight_decay = 0.1};
  config_.schedule.lr = 1e-3;
  config_.train.micro_batches = 4;
  run();
  EXPECT_LT(losses().back(), losses().front());
}

TEST_F(Train, LearnsWithCentresInBFloat16ThatEveryStepMoves) {
  config_.head.sample_rate = 0.5;
  config_.head.center_type = config_.head.state_type = "bfloat16";
  config_.head.update = "dense_equivalent";
  run();
  EXPECT_LT(losses().back(), losses().front());
  const SafetensorsFile centers(at_the_end("centers-00001-of-00001.safetensors"));
  EXPECT_EQ(centers.tensor("centers").dtype, "BF16");
}

TEST_F(Train, LearnsWithABackboneInBFloat16) {
  config_.train.precision = "bfloat16";
  config_.train.batch_size = 8;  // processors without such instructions take their time
  config_.train.steps = 6;
  config_.log.every = 1;
  config_.eval.sets = {};
  run();
  EXPECT_LT(losses().back(), losses().front());
}

TEST_F(Train, RefusesToWriteOverAnEarlierRun) {
  run();
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(HasSubstr("holds an earlier run")));
}

TEST_F(Train, RefusesAFolderThatAnotherRunWritesTo) {
  config_.train.steps = 1;
  const auto comm = make_self_communicator();
  {
    const OutputFolder other(config_.output, Start::kAnew, *comm);
    EXPECT_THAT([&] { run(Start::kResume); },
                ThrowsMessage<Error>(HasSubstr("another run is writing to it")));
  }
  run();
}

TEST_F(Train, LocksItsFolderThroughAFileThatIsOpenForWriting) {
  const auto comm = make_self_communicator();
  const OutputFolder own(config_.output, Start::kAnew, *comm);
  const std::filesystem::path lock = std::filesystem::path(config_.output) / ".lock";
  int access = -1;  // NFS has no exclusive lock on what is open for reading
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed;
    if (std::filesystem::read_symlink(entry.path(), closed) == std::filesystem::canonical(lock))
      access = ::fcntl(std::stoi(entry.path().filename()), F_GETFL) & O_ACCMODE;
  }
  EXPECT_EQ(access, O_RDWR);
}

TEST_F(Train, SavesTheNetworkWhereThereIsNoRoomForTheLastCheckpoint) {
  std::filesystem::create_directories(config_.output);
  std::filesystem::create_directory_symlink(  // where nobody can make a folder
      "/proc", std::filesystem::path(config_.output) / "checkpoints");
  const std::string last = std::filesystem::path(config_.output) / "last.safetensors";
  for (const int world : {1, 2}) {
    EXPECT_THAT([&] { run_on(world, Start::kResume); },
                ThrowsMessage<Error>(AllOf(HasSubstr("step-000000012.partial"),
                                           HasSubstr("step 12 has no checkpoint"),
                                           HasSubstr("its network is saved as " + last))));
    EXPECT_EQ(name_of_backbone(last, "tiny").embedding_size, 32);
    for (const char* name : {"last.safetensors", "best.safetensors", "metrics.jsonl"})
      std::filesystem::remove(std::filesystem::path(config_.output) / name);
  }
}

TEST_F(Train, CountsCorruptImagesAndLeavesThemOutOfTheNextStart) {
  {
    FaceRecordWriter writer(folder_ / "train.rec");
    for (std::int32_t identity = 0; identity < 12; ++identity) {
      for (std::uint64_t image = 0; image < kImages; ++image) {
        auto encoded = picture(static_cast<std::uint64_t>(identity), image);
        if (identity == 5 && image == 2) encoded.resize(encoded.size() / 2);
        writer.add(identity, encoded);
      }
    }
    writer.commit();
  }
  config_.data.max_corrupt_share = 0.1;
  run();
  EXPECT_THAT(log_, HasSubstr("corrupt image, left out: image 23: "));
  std::int64_t corrupt = 0;
  for (const auto& line : metrics()) corrupt = line.value("corrupt", corrupt);
  EXPECT_GE(corrupt, 1);
  config_.output = folder_ / "again";
  run();
  EXPECT_THAT(log_,
              HasSubstr("47 images of 12 identities; left out 1 that did not decode earlier"));
}

TEST_F(Train, StopsWithTheStepAndTheTensorWhereTheLossIsNotFinite) {
  config_.schedule.kind = "step";  // whose rate stays what it is
  config_.schedule.lr = 1e30;
  EXPECT_THAT([&] { run(); },
              ThrowsMessage<Error>(testing::AllOf(
                  HasSubstr("step "), HasSubstr("learning rate 1e+30"), HasSubstr("not finite"))));
  EXPECT_FALSE(fs::exists(fs::path(config_.output) / "last.safetensors"));
}

TEST_F(TrainOnRanks, WithSynchronisedBatchNormAFewStepsAreThoseOfOneRank) {
  config_.model.sync_bn = true;
  config_.schedule.lr = 0.01;
  config_.train.steps = 4;
  config_.log.every = 1;
  config_.eval.every = 0;
  std::vector<nlohmann::json> want;
  for (const int world : {1, 2, 4}) {
    config_.output = folder_ / std::to_string(world);
    run_on(world);
    const auto found = metrics();
    if (world == 1) want = found;
    ASSERT_EQ(found.size(), want.size());
    for (std::size_t i = 0; i < 4; ++i) {
      const double loss = want[i]["loss"];
      EXPECT_NEAR(found[i]["loss"].get<double>(), loss, 1e-3 * loss) << world;
    }
    EXPECT_NEAR(found.back()["accuracy"].get<double>(), want.back()["accuracy"], 0.1) << world;
  }
}

TEST_F(TrainOnRanks, TheFirstWritesTheNetworkAndEachItsCentres) {
  run_on(2);
  const fs::path output = config_.output;
  EXPECT_NO_THROW(load_backbone(output / "last.safetensors"));
  EXPECT_NO_THROW(load_backbone(output / "best.safetensors"));
  EXPECT_EQ(load_config(output / "config.toml", {}), config_);
  std::int64_t rows = 0;
  for (const std::string name :
       {"centers-00001-of-00002.safetensors", "centers-00002-of-00002.safetensors"}) {
    const SafetensorsFile centers(at_the_end(name));
    EXPECT_EQ(centers.metadata("first_class"), std::to_string(rows));
    rows += centers.tensor("centers").shape[0];
  }
  EXPECT_EQ(rows, kIdentities);
  EXPECT_THAT(log_, HasSubstr("ranks: 2 on 1 machine, 1 thread each"));
  EXPECT_THAT(log_, HasSubstr("sent by a rank in a step"));
}

TEST_F(TrainOnRanks, ABatchThatDoesNotDivideIsRefusedNamingTheNearest) {
  EXPECT_THAT([&] { run_on(3); },
              ThrowsMessage<Error>(HasSubstr("does not divide over 3 ranks; the nearest sizes are "
                                             "15 and 18")));
}

TEST_F(TrainOnRanks, RefuseTrainingSetsThatDiffer) {
  EXPECT_THAT(
      [&] {
        run_ranks(2, [&](Communicator& comm) {
          const auto dataset =
              open_dataset({.path = config_.data.train,
                            .cache_dir = folder_ / "cache" / std::to_string(comm.rank()),
                            .min_images = 1});
          if (comm.rank() == 0) return require_same_data(*dataset, comm);
          dataset->exclude(3, "broken");
          require_same_data(
              *open_dataset({.path = config_.data.train, .cache_dir = folder_ / "cache" / "1"}),
              comm);
        });
      },
      ThrowsMessage<Error>(HasSubstr("rank 0 sees 48 images of 12 identities, rank 1 sees 47")));
}

TEST_F(Train, SaysSoWhereTheSampleLeavesNoNegatives) {
  config_.head.sample_rate = 0.1;
  config_.train.steps = 1;
  run();
  EXPECT_THAT(log_, HasSubstr("few or none are left as negatives"));
}

TEST_F(Train, ChecksItsInputsBeforeTheFirstStep) {
  config_.data.train = "";
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(HasSubstr("data.train is not set")));
  config_.data.train = folder_ / "none.rec";
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(HasSubstr("none.rec")));
  config_.data.train = folder_ / "train.rec";
  config_.eval.sets = {folder_ / "none.bin"};
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(HasSubstr("none.bin")));
}

}  // namespace
}  // namespace pfc
