#include "pfc/train/trainer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include <sstream>

#include "model/trained_network.h"
#include "pfc/base/error.h"
#include "pfc/data/dataset.h"
#include "pfc/export/onnx.h"
#include "pfc/formats/safetensors.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "pfc/model/network.h"
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
  config_.optimizer = {.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = 0.1};
  config_.schedule.lr = 1e-3;
  config_.train.micro_batches = 4;
  run();
  EXPECT_LT(losses().back(), losses().front());
}

TEST_F(Train, LearnsWithCentresInBFloat16ThatEveryStepMoves) {
  config_.head.sample_rate = 0.5;
  config_.head.center_type = config_.head.state_type = NumberType::kBFloat16;
  config_.head.update = CenterOptimizer::Update::kDenseEquivalent;
  run();
  EXPECT_LT(losses().back(), losses().front());
  const SafetensorsFile centers(at_the_end("centers-00001-of-00001.safetensors"));
  EXPECT_EQ(centers.tensor("centers").dtype, "BF16");
}

TEST_F(Train, LearnsWithABackboneInBFloat16) {
  config_.train.precision = Precision::kBFloat16;
  config_.train.batch_size = 8;  // processors without such instructions are slow
  config_.train.steps = 6;
  config_.log.every = 1;
  config_.eval.sets = {};
  run();
  EXPECT_LT(losses().back(), losses().front());
}

/// With batch normalisation of LibTorch's, and a factor that the configuration sets.
class OwnNetwork : public Backbone {
 public:
  OwnNetwork(std::int64_t embedding_size, std::uint64_t seed, double factor) : factor_(factor) {
    norm_ = register_module("norm", torch::nn::BatchNorm2d(3));
    linear_ = register_module("linear", torch::nn::Linear(3 * 7 * 7, embedding_size));
    auto generator = at::detail::createCPUGenerator(seed);
    const torch::NoGradGuard no_grad;
    linear_->weight.normal_(0, 0.1, generator);
    linear_->bias.zero_();
  }
  torch::Tensor forward(torch::Tensor images) override {
    const auto small = torch::avg_pool2d(norm_->forward(images), 16);
    return linear_->forward(small.flatten(1)) * factor_;
  }

 private:
  double factor_;
  torch::nn::BatchNorm2d norm_ = nullptr;
  torch::nn::Linear linear_ = nullptr;
};

const bool kIsRegistered = [] {
  register_network({.name = "train_test_own",
                    .options = {{"factor", 1.0}},
                    .make = [](const NetworkArguments& a) -> std::shared_ptr<Backbone> {
                      return std::make_shared<OwnNetwork>(a.embedding_size, a.seed,
                                                          std::get<double>(a.options.at("factor")));
                    }});
  return true;
}();

TEST_F(Train, ANetworkOfTheProgramsOwnIsTrainedSavedAndResumed) {
  ASSERT_TRUE(kIsRegistered);
  config_.model.network = "train_test_own";
  config_.model.options = {{"factor", std::int64_t{2}}};
  config_.model.sync_bn = true;
  run();
  EXPECT_LT(losses().back(), losses().front());
  const SavedBackbone saved = open_backbone(fs::path(config_.output) / "last.safetensors");
  EXPECT_EQ(saved.name.options, (NamedValues{{"factor", 2.0}}));
  const auto images = torch::rand({2, 3, kFaceSize, kFaceSize});
  saved.backbone->eval();
  const auto bigger = saved.backbone->forward(images);
  const auto one = make_backbone("train_test_own", 32, 0);
  load_backbone(fs::path(config_.output) / "last.safetensors", *one);
  one->eval();
  EXPECT_TRUE(torch::allclose(bigger, 2 * one->forward(images)));

  config_.train.steps += 2;
  EXPECT_NO_THROW(run(Start::kResume));
  config_.model.options = {};
  EXPECT_THAT([&] { run(Start::kResume); }, ThrowsMessage<Error>(HasSubstr("model.options is {}")));
}

TEST_F(Train, StartsFromAFoldedOnnxFileAsFromTheNetworkThatWasExported) {
  // A network whose running statistics are those of the data, as after training.
  const auto backbone = make_backbone("tiny", 32, 7);
  const auto dataset = open_dataset({.path = config_.data.train});
  const auto pixels = torch::empty({dataset->size(), kFaceSize, kFaceSize, 3}, torch::kUInt8);
  std::vector<std::byte> scratch;
  for (std::int64_t i = 0; i < pixels.size(0); ++i) {
    decode_image(dataset->image(i, scratch), kFaceSize, kFaceSize,
                 pixels[i].mutable_data_ptr<std::uint8_t>());
  }
  take_statistics(*backbone, to_network_input(pixels));
  save_state_dict(*backbone, folder_ / "start.pth");
  export_onnx(*backbone, folder_ / "start.onnx");
  config_.train.steps = config_.log.every = 1;
  config_.eval.sets = {};
  std::vector<double> first;
  for (const std::string start : {"start.pth", "start.onnx"}) {
    config_.init.from = folder_ / start;
    config_.output = folder_ / ("from_" + start);
    run();
    first.push_back(losses().at(0));
  }
  EXPECT_NEAR(first[1], first[0], 1e-3 * first[0]);
  EXPECT_THAT(log_, HasSubstr("batch normalisations were folded into other layers when it was "
                              "exported; their statistics are measured on 48 images"));
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
  run();  // four epochs, in each of which the image comes again
  EXPECT_THAT(log_, HasSubstr("corrupt image, left out: image 23: "));
  std::int64_t corrupt = 0;
  for (const auto& line : metrics()) corrupt = line.value("corrupt", corrupt);
  EXPECT_GE(corrupt, 1);
  config_.output = folder_ / "again";
  run();
  EXPECT_THAT(
      log_, HasSubstr("47 images of 12 identities; left out 1 image that did not decode earlier"));
}

TEST_F(Train, StopsWithTheStepAndTheTensorWhereTheLossIsNotFinite) {
  config_.schedule.kind = Decay::kStep;  // whose rate stays what it is
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

TEST_F(Train, TakesTheStepsOfEachRateAsARunOfThatRateTakesThem) {
  config_.log.every = 1;
  config_.train.steps = 4;
  config_.eval.sets = {};
  const auto losses_at = [&](const StepwiseNumber& rate, const std::string& name) {
    config_.head.sample_rate = rate;
    config_.output = folder_ / name;
    run();
    return losses();
  };
  const StepwiseNumber changing({{0, 0.3}, {2, 1}});
  const auto low = losses_at(0.3, "low"), both = losses_at(changing, "both");
  EXPECT_THAT(log_, AllOf(HasSubstr("4 of 12 class centres a step (r = 0.3)"),
                          HasSubstr("from step 2 on 12 of 12 class centres a step (r = 1)"),
                          HasSubstr("step 2  sample rate 1, was 0.3")));
  ASSERT_EQ(both.size(), 4u);
  EXPECT_EQ(std::vector(both.begin(), both.begin() + 2), std::vector(low.begin(), low.begin() + 2));
  EXPECT_NE(both[2], low[2]);
  std::vector<double> rates;
  for (const auto& line : metrics())
    if (line.contains("loss")) rates.push_back(line["sample_rate"]);
  EXPECT_EQ(rates, (std::vector{0.3, 0.3, 1.0, 1.0}));
}

TEST_F(Train, SaysSoWhereTheSampleLeavesNoNegatives) {
  config_.head.sample_rate = 0.1;
  config_.train.steps = 1;
  run();
  EXPECT_THAT(log_, HasSubstr("few or none are left as negatives"));
}

TEST_F(Train, SaysWhatItWillEvaluateAndHowFarItIs) {
  run();
  std::istringstream log(log_);
  int ended = 0;
  for (std::string line; std::getline(log, line);)
    ended += line.starts_with("evaluating on val: 20 of 20 images  took ") ? 1 : 0;
  EXPECT_EQ(ended, 2) << log_;
}

/// `images` images of each of `identities` identities; with `broken`, a share of them does not
/// decode.
void write_set(const fs::path& path, std::uint64_t identities, std::uint64_t images,
               bool broken = false) {
  FaceRecordWriter writer(path);
  for (std::uint64_t identity = 0; identity < identities; ++identity) {
    for (std::uint64_t image = 0; image < images; ++image) {
      auto encoded = picture(identity, image);
      if (broken) encoded.resize(encoded.size() / 2);
      writer.add(static_cast<std::int32_t>(identity), encoded);
    }
  }
  writer.commit();
}

TEST_F(Train, RefusesASetOfOneIdentity) {
  config_.data.train = folder_ / "one.rec";
  write_set(config_.data.train, 1, 20);
  EXPECT_THAT([&] { run(); },
              ThrowsMessage<Error>(testing::AllOf(
                  HasSubstr("one.rec: holds 20 images of 1 identity, want at least two"),
                  HasSubstr("one level too high"))));
}

TEST_F(Train, RefusesASetOfAnotherSizeAndResizesItWhereItIsAskedTo) {
  config_.data.train = folder_ / "large.rec";
  config_.eval.sets = {};
  FaceRecordWriter writer(config_.data.train);
  for (std::uint64_t image = 0; image < 48; ++image) {
    const auto grey = static_cast<std::uint8_t>(5 * image);
    writer.add(static_cast<std::int32_t>(image / 4),
               encode_png({160, 160, std::vector<std::uint8_t>(3 * 160 * 160, grey)}));
  }
  writer.commit();
  EXPECT_THAT([&] { run(); },
              ThrowsMessage<Error>(HasSubstr("large.rec: image 1 is 160 x 160 pixels, want 112 x "
                                             "112; with data.resize=true squares are resized")));
  config_.data.resize = true;
  config_.train.steps = 2;
  run();
  EXPECT_EQ(losses().size(), 1u);
}

TEST_F(Train, SaysWhereIdentitiesHaveOneImageAndABatchHoldsTheSetTwice) {
  config_.data.train = folder_ / "few.rec";
  config_.train.steps = 1;
  config_.train.batch_size = 32;
  config_.eval.sets = {};
  write_set(config_.data.train, 12, 1);
  run();
  EXPECT_THAT(log_, HasSubstr("note: every identity has only one image"));
  EXPECT_THAT(log_, HasSubstr("note: a batch of 32 images holds the set's 12 more than once"));
}

TEST_F(Train, ABatchOfWhichNoImageDecodesIsNotTakenForARateThatIsTooHigh) {
  config_.data.train = folder_ / "broken.rec";
  config_.data.max_corrupt_share = 1;
  write_set(config_.data.train, 12, 4, /*broken=*/true);
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(testing::AllOf(
                                  HasSubstr("step 0: none of the 16 images of its batch decodes"),
                                  Not(HasSubstr("learning rate")))));
}

TEST_F(Train, WhatIsWrongIsSaidBeforeTheTrainingSetIsIndexed) {
  const auto write_pairs = [&](const char* name, int pairs, bool all_same, bool broken) {
    VerificationSetWriter writer(folder_ / name);
    for (std::uint64_t pair = 0; pair < static_cast<std::uint64_t>(pairs); ++pair) {
      auto second = picture(pair, 1);
      if (broken && pair == 7) second.resize(second.size() / 2);
      writer.add(picture(pair, 0), second, all_same || pair % 2 == 0);
    }
    writer.commit();
    return folder_ / name;
  };
  const fs::path few = write_pairs("few.bin", 9, false, false),
                 same = write_pairs("same.bin", 10, true, false),
                 broken = write_pairs("broken.bin", 10, false, true);
  config_.data.train = folder_ / "none.rec";
  const Config right = config_;
  const auto said = [&](const auto& spoil) {
    config_ = right;
    spoil(config_);
    try {
      run();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_THAT(said([](Config& c) { c.model.network = "r51"; }),
              HasSubstr("network 'r51' is unknown; the nearest known one is r50; known: r18"));
  EXPECT_THAT(said([](Config& c) {
                c.model.options = {{"depth", true}};
              }),
              HasSubstr("model.options.depth: network 'tiny' has no such option, and no other"));
  EXPECT_FALSE(fs::exists(right.output));
  EXPECT_THAT(said([](Config& c) { c.model.freeze = {"layer9"}; }), HasSubstr("no part 'layer9'"));
  EXPECT_THAT(said([](Config& c) { c.model.embedding_size = 9000; }), HasSubstr("want 1 to 8192"));
  EXPECT_THAT(said([](Config& c) { c.train.micro_batches = 3; }), HasSubstr("does not divide"));
  EXPECT_THAT(said([](Config& c) { c.train.precision = Precision::kFloat16; }),
              HasSubstr("a GPU's"));
  EXPECT_THAT(said([](Config& c) { c.init.class_map = "same"; }), HasSubstr("want init.from"));
  EXPECT_THAT(said([](Config& c) { c.init.from = "no.pth"; }), HasSubstr("there is no no.pth"));
  EXPECT_THAT(said([&](Config& c) { c.eval.sets = {few}; }), HasSubstr("few: 9 pairs: want at"));
  EXPECT_THAT(said([&](Config& c) { c.eval.sets = {same}; }),
              HasSubstr("same: pairs: all 10 are of one person"));
  EXPECT_THAT(said([&](Config& c) { c.eval.sets = {broken}; }),
              HasSubstr("broken: image 15: corrupt JPEG"));
  EXPECT_THAT(said([](Config&) {}), HasSubstr("none.rec"));
}

TEST_F(Train, ASetThatCannotBeEvaluatedIsRefusedAtEveryStart) {
  run();
  const std::string network = read_file(fs::path(config_.output) / "last.safetensors");
  config_.train.steps = 14;
  VerificationSetWriter writer(folder_ / "val.bin");
  writer.add(picture(0, 0), picture(0, 1), true);
  writer.commit();
  EXPECT_THAT([&] { run(Start::kResume); }, ThrowsMessage<Error>(HasSubstr("val: 1 pair:")));
  EXPECT_EQ(read_file(fs::path(config_.output) / "last.safetensors"), network);
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
