#include "pfc/train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "comm/thread_communicator.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/random.h"
#include "pfc/data/dataset.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/record_io.h"
#include "pfc/data/verification_set.h"
#include "pfc/export/safetensors.h"
#include "pfc/model/backbone.h"
#include "temporary_folder.h"
#include "train/same_data.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// An image whose identity is the colours of its quarters; each image has noise of its own.
std::vector<std::byte> picture(std::uint64_t identity, std::uint64_t number) {
  const CounterRandom colours(identity, Stream::kCentreInit),
      noise(identity * 1000 + number, Stream::kMirror);
  RgbImage image{.width = kFaceSize, .height = kFaceSize, .pixels = {}};
  for (std::uint64_t i = 0; i < std::uint64_t{kFaceSize} * kFaceSize * 3; ++i) {
    const std::uint64_t x = i / 3 % kFaceSize, y = i / 3 / kFaceSize;
    const std::uint64_t quarter = (x >= kFaceSize / 2 ? 1 : 0) + (y >= kFaceSize / 2 ? 2 : 0);
    const auto colour = colours.below(200, quarter, i % 3), grain = noise.below(50, 0, i);
    image.pixels.push_back(static_cast<std::uint8_t>(colour + grain));
  }
  return encode_jpeg(image, 90);
}

class Train : public testing::Test {
 protected:
  static constexpr std::uint64_t kIdentities = 12, kImages = 4;

  void SetUp() override {
    FaceRecordWriter writer(folder_ / "train.rec");
    for (std::uint64_t identity = 0; identity < kIdentities; ++identity) {
      for (std::uint64_t image = 0; image < kImages; ++image) {
        writer.add(static_cast<std::int32_t>(identity), picture(identity, image));
      }
    }
    writer.commit();
    VerificationSetWriter pairs(folder_ / "val.bin");
    for (std::uint64_t pair = 0; pair < 20; ++pair) {
      const bool same = pair % 2 == 0;
      pairs.add(picture(100 + pair, 0), picture(same ? 100 + pair : 200 + pair, 1), same);
    }
    pairs.commit();

    config_.data.train = folder_ / "train.rec";
    config_.model.network = "tiny";
    config_.model.embedding_size = 32;
    config_.head.scale = 16;
    config_.train.batch_size = 16;
    config_.train.epochs = 0;
    config_.train.steps = 12;
    config_.eval.sets = {folder_ / "val.bin"};
    config_.eval.every = 6;
    config_.log.every = 4;
    config_.output = folder_ / "output";
  }

  void run() {
    testing::internal::CaptureStderr();
    try {
      train(config_, *make_self_communicator());
    } catch (...) {
      log_ = testing::internal::GetCapturedStderr();
      throw;
    }
    log_ = testing::internal::GetCapturedStderr();
  }

  std::vector<nlohmann::json> metrics() const {
    std::istringstream lines(read_file(fs::path(config_.output) / "metrics.jsonl"));
    std::vector<nlohmann::json> parsed;
    for (std::string line; std::getline(lines, line);)
      parsed.push_back(nlohmann::json::parse(line));
    return parsed;
  }

  TemporaryFolder folder_;
  Config config_;
  std::string log_;
};

TEST_F(Train, LearnsAndLeavesEverythingInTheOutputFolder) {
  run();
  const fs::path output = config_.output;
  std::vector<double> losses;
  int evaluations = 0;
  for (const auto& line : metrics()) {
    if (line.contains("loss")) losses.push_back(line["loss"]);
    if (line.contains("accuracy")) {
      ++evaluations;
      EXPECT_EQ(line["set"], "val");
    }
  }
  ASSERT_EQ(losses.size(), 3u);
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_EQ(evaluations, 2);
  EXPECT_EQ(load_config(output / "config.toml", {}), config_);
  EXPECT_EQ(load_backbone(output / "last.safetensors")->parameters().size(),
            make_backbone("tiny", 32, 0)->parameters().size());
  EXPECT_NO_THROW(load_backbone(output / "best.safetensors"));
  EXPECT_THAT(read_file(output / "roc.svg"), HasSubstr("<svg"));

  const SafetensorsFile centers(output / "centers.safetensors");
  ASSERT_EQ(centers.tensors().size(), 1u);
  EXPECT_EQ(centers.tensors()[0].shape, (std::vector<std::int64_t>{kIdentities, 32}));
  EXPECT_EQ(centers.metadata("classes"), std::to_string(kIdentities));
  EXPECT_THAT(log_, HasSubstr("48 images of 12 identities"));
}

TEST_F(Train, IsBitEqualWhenItIsRunAgain) {
  config_.head.sample_rate = 0.5;
  run();
  const std::string backbone = read_file(fs::path(config_.output) / "last.safetensors");
  const std::string centers = read_file(fs::path(config_.output) / "centers.safetensors");
  config_.output = folder_ / "again";
  run();
  EXPECT_EQ(read_file(fs::path(config_.output) / "last.safetensors"), backbone);
  EXPECT_EQ(read_file(fs::path(config_.output) / "centers.safetensors"), centers);
}

TEST_F(Train, LearnsWithAdamWAndMicroBatches) {
  config_.optimizer = {.kind = "adamw", .weight_decay = 0.1};
  config_.schedule.lr = 1e-3;
  config_.train.micro_batches = 4;
  run();
  const auto lines = metrics();
  EXPECT_LT(lines.back().value("loss", lines[lines.size() - 2].value("loss", 1e9)),
            lines.front()["loss"].get<double>());
}

TEST_F(Train, LearnsWithCentresInBFloat16ThatEveryStepMoves) {
  config_.head.sample_rate = 0.5;
  config_.head.center_type = config_.head.state_type = "bfloat16";
  config_.head.update = "dense_equivalent";
  run();
  const auto lines = metrics();
  EXPECT_LT(lines.back().value("loss", lines[lines.size() - 2].value("loss", 1e9)),
            lines.front()["loss"].get<double>());
  const SafetensorsFile centers(fs::path(config_.output) / "centers.safetensors");
  EXPECT_EQ(centers.tensors()[0].dtype, "BF16");
}

TEST_F(Train, RefusesToWriteOverAnEarlierRun) {
  run();
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(HasSubstr("holds an earlier run")));
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
  EXPECT_GE(
      metrics().back().value("corrupt", 0) + metrics()[metrics().size() - 2].value("corrupt", 0),
      1);
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

/// The same run on so many ranks, each a thread.
class TrainOnRanks : public Train {
 protected:
  void run_on(int world) {
    config_.train.threads = 1;
    config_.output = folder_ / ("output" + std::to_string(world));
    testing::internal::CaptureStderr();
    try {
      run_ranks(world, [&](Communicator& comm) { train(config_, comm); });
    } catch (...) {
      log_ = testing::internal::GetCapturedStderr();
      throw;
    }
    log_ = testing::internal::GetCapturedStderr();
  }
};

TEST_F(TrainOnRanks, WithSynchronisedBatchNormAFewStepsAreThoseOfOneRank) {
  config_.model.sync_bn = true;
  config_.schedule.lr = 0.01;
  config_.train.steps = 4;
  config_.log.every = 1;
  config_.eval.every = 0;
  std::vector<nlohmann::json> want;
  for (const int world : {1, 2, 4}) {
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
    const SafetensorsFile centers(output / name);
    EXPECT_EQ(centers.metadata("first_class"), std::to_string(rows));
    rows += centers.tensors()[0].shape[0];
  }
  EXPECT_EQ(rows, kIdentities);
  EXPECT_THAT(log_, HasSubstr("ranks: 2 on 1 machine, 1 threads each"));
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
