// Runs that are resumed, and runs that start from the results of another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <map>

#include "model/vit.h"
#include "pfc/base/error.h"
#include "pfc/data/dataset.h"
#include "pfc/formats/safetensors.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "pfc/model/network.h"
#include "train/small_run.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

class Resume : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    config_.head.sample_rate = 0.5;
    config_.train.batch_size = 8;
    config_.train.micro_batches = 2;
    config_.checkpoint = {.every = 4, .keep_last = 3};
    config_.log.every = 1;
  }

  /// Makes the run look as if it had died after the checkpoint of `step` and some further steps.
  void die_after(std::int64_t step) {
    for (std::int64_t later = step + 1; later <= config_.train.steps; ++later)
      fs::remove_all(checkpoint(later));
    for (const char* name : {"last.safetensors", "best.safetensors", "roc.svg"})
      fs::remove(fs::path(config_.output) / name);
  }

  /// All results of the run that must not depend on interruptions.
  std::map<std::string, std::string> results() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::directory_iterator(checkpoint(config_.train.steps)))
      found[entry.path().filename()] = read_file(entry.path());
    for (const char* name : {"last.safetensors", "roc.svg"})
      found[name] = read_file(fs::path(config_.output) / name);
    for (const auto& line : metrics()) {
      if (line.contains("loss")) found["losses"] += line["loss"].dump() + "\n";
      if (line.contains("accuracy")) found["accuracies"] += line["accuracy"].dump() + "\n";
    }
    return found;
  }

  void expect_bit_equal_resume(int world = 1) {
    run_on(world);
    const auto want = results();
    for (const std::int64_t step : {8, 4}) {
      die_after(step);
      run_on(world, Start::kResume);
      EXPECT_THAT(log_, HasSubstr("resumed after step " + std::to_string(step)));
      EXPECT_EQ(results(), want) << "after step " << step;
    }
  }
};

TEST_F(Resume, IsBitEqualToTheRunThatWasNeverInterrupted) {
  expect_bit_equal_resume();
}

TEST_F(Resume, IsBitEqualWithAdamW) {
  config_.optimizer = {.kind = CenterOptimizer::Kind::kAdamW, .weight_decay = 0.1};
  config_.schedule.lr = 1e-3;
  expect_bit_equal_resume();
}

TEST_F(Resume, IsBitEqualWithCentresInBFloat16ThatEveryStepMoves) {
  config_.head.center_type = config_.head.state_type = NumberType::kBFloat16;
  config_.head.update = CenterOptimizer::Update::kDenseEquivalent;
  expect_bit_equal_resume();
}

TEST_F(Resume, IsBitEqualWithoutMomentumAndWithAFrozenStage) {
  config_.optimizer.momentum = 0;
  config_.model.freeze = {"conv1", "bn1", "prelu", "layer1"};
  expect_bit_equal_resume();
}

/// A vision transformer that is small enough for a test.
const bool kSmallVitIsRegistered = [] {
  register_network({.name = "resume_test_vit",
                    .options = {{std::string(kLoraRank), std::int64_t{0}}},
                    .make = [](const NetworkArguments& arguments) {
                      const VitShape shape = {.dim = 16,
                                              .depth = 2,
                                              .heads = 4,
                                              .lora_rank = std::get<std::int64_t>(
                                                  arguments.options.find(kLoraRank)->second)};
                      return make_vit(shape, arguments.embedding_size, arguments.seed);
                    }});
  return true;
}();

TEST_F(Resume, IsBitEqualWithLowRankPartsWhichTrainAlone) {
  ASSERT_TRUE(kSmallVitIsRegistered);
  const fs::path start = folder_ / "start.safetensors";
  const auto first = make_backbone("resume_test_vit", 32, 3);
  save_backbone(*first, "resume_test_vit", 32, start);
  config_.model.network = "resume_test_vit";
  config_.model.lora_rank = 2;
  config_.init.from = start;
  expect_bit_equal_resume();
  EXPECT_THAT(log_, HasSubstr("network: resume_test_vit, 1,024 of"));
  const auto last = load_backbone(fs::path(config_.output) / "last.safetensors");
  for (const auto& item : first->named_parameters())
    EXPECT_TRUE(last->named_parameters()[item.key()].equal(item.value())) << item.key();
  for (const auto& item : last->named_parameters()) {
    if (item.key().ends_with(".lora.up")) {
      EXPECT_GT(item.value().abs().max().item<float>(), 0) << item.key();
    }
  }
}

TEST_F(Resume, IsBitEqualWithAShuffleWindow) {
  config_.data.shuffle_window = 64;
  expect_bit_equal_resume();
}

TEST_F(Resume, IsBitEqualBeforeAndAfterAChangeOfTheSampleRate) {
  config_.head.sample_rate = StepwiseNumber({{0, 0.2}, {6, 0.9}, {8, 0.4}});
  config_.head.update = CenterOptimizer::Update::kDenseEquivalent;
  expect_bit_equal_resume();
  EXPECT_THAT(log_, HasSubstr("step 6  sample rate 0.9, was 0.2"));
}

TEST_F(Resume, IsBitEqualOnAsManyRanksWhoseSampleRateChanges) {
  config_.head.sample_rate = StepwiseNumber({{0, 0.2}, {6, 0.9}});
  config_.train.batch_size = 12;
  expect_bit_equal_resume(3);
}

TEST_F(Resume, IsBitEqualOnAsManyRanks) {
  config_.train.batch_size = 12;
  expect_bit_equal_resume(3);
}

TEST_F(Resume, OnOtherNumbersOfRanksTakesTheStepsOfTheRunThatWasNotInterrupted) {
  config_.model.sync_bn = true;
  config_.train.batch_size = 12;
  config_.train.micro_batches = 1;
  config_.train.steps = 24;
  // Small, so that fast learning does not amplify rounding.
  config_.schedule = {.lr = 3e-4, .power = 0};
  config_.eval.every = 0;
  config_.checkpoint = {.every = 4, .keep_last = 100};
  run_on(4);
  const std::vector<double> want = losses();
  const fs::path original = config_.output;
  for (const int world : {3, 1, 2}) {
    config_.output = folder_ / std::to_string(world);
    fs::copy(original, config_.output, fs::copy_options::recursive);
    die_after(4);
    run_on(world, Start::kResume);
    EXPECT_THAT(log_, HasSubstr("resumed after step 4, which 4 ranks saved"));
    ASSERT_EQ(losses().size(), want.size());
    EXPECT_NEAR(losses()[4], want[4], 1e-5 * want[4]) << world;
    for (std::size_t step = 5; step < want.size(); ++step)
      EXPECT_NEAR(losses()[step], want[step], 1e-3 * want[step]) << step << " on " << world;
  }
}

TEST_F(Resume, BeginsWhereThereIsNoCheckpoint) {
  run(Start::kResume);
  EXPECT_THAT(log_, HasSubstr("no checkpoint in"));
  EXPECT_TRUE(fs::exists(at_the_end("manifest.json")));
}

TEST_F(Resume, IsRefusedWhereANetworkOrALogStandsWithoutACheckpoint) {
  run();
  fs::remove_all(checkpoint(0).parent_path());
  const fs::path output = config_.output;
  for (const char* name : {"best.safetensors", "last.safetensors", "metrics.jsonl"}) {
    const std::string content = read_file(output / name);
    EXPECT_THAT([&] { run(Start::kResume); },
                ThrowsMessage<Error>(AllOf(HasSubstr(std::string("holds ") + name),
                                           HasSubstr("no checkpoint to continue from"))));
    EXPECT_EQ(read_file(output / name), content);
    fs::remove(output / name);
  }
  write_text(output / "metrics.jsonl", "");  // a run that ended before its first step
  run(Start::kResume);
  EXPECT_THAT(log_, HasSubstr("training begins"));
}

TEST_F(Resume, DoesNotTakeCheckpointsThatCannotBeLookedForForNone) {
  run();
  const auto want = results();
  const fs::path checkpoints = checkpoint(0).parent_path(), elsewhere = folder_ / "elsewhere";
  const auto expect_refusal = [&](const std::string& sentence) {
    for (const Start start : {Start::kAnew, Start::kResume})
      EXPECT_THAT([&] { run(start); }, ThrowsMessage<Error>(HasSubstr(sentence)));
  };
  fs::rename(checkpoints, elsewhere);
  fs::create_directory_symlink(elsewhere, checkpoints);
  fs::rename(elsewhere, folder_ / "unmounted");
  expect_refusal("checkpoints: a link to " + elsewhere.string() + ", which is not there");
  const fs::path whole = config_.output;
  config_.output = folder_ / "link";
  fs::create_directory_symlink("nowhere", config_.output);
  expect_refusal("link: a link to nowhere, which is not there");
  config_.output = whole;
  fs::rename(folder_ / "unmounted", elsewhere);
  run(Start::kResume);
  EXPECT_EQ(results(), want);
  fs::remove(checkpoints);
  write_text(checkpoints, "a file");
  EXPECT_THAT([&] { run(Start::kResume); },
              ThrowsMessage<Error>(HasSubstr("checkpoints: cannot list: Not a directory")));
}

TEST_F(Resume, OfAFinishedRunOnlyEvaluatesItAgain) {
  run();
  const auto want = results();
  run(Start::kResume);
  EXPECT_THAT(log_, Not(HasSubstr("step 12/12")));
  EXPECT_EQ(results(), want);
}

TEST_F(Resume, FallsBackToTheCheckpointBeforeOneThatIsNotWhole) {
  run();
  const auto want = results();
  const auto expect = [&](const std::string& sentence) {
    run(Start::kResume);
    EXPECT_THAT(log_,
                AllOf(HasSubstr("this checkpoint cannot be used: "), HasSubstr(sentence),
                      HasSubstr("step-000000012.damaged"), HasSubstr("resumed after step 8")));
    EXPECT_EQ(results(), want) << sentence;
  };
  fs::remove(at_the_end("optimizer.safetensors"));
  expect("optimizer.safetensors: is missing");
  fs::remove(at_the_end("manifest.json"));
  expect("manifest.json: is missing");
  const fs::path centers = at_the_end("centers-00001-of-00001.safetensors");
  std::string bytes = read_file(centers);
  bytes[bytes.size() - 5] ^= 1;
  write_text(centers, bytes);
  expect("centers-00001-of-00001.safetensors: offset 0: altered since it was written");
  fs::resize_file(at_the_end("backbone.safetensors"), 1000);
  expect("backbone.safetensors: end: 1,000 bytes, want ");
}

TEST_F(Resume, StopsWhereACheckpointCannotBeReadAndKeepsIt) {
  run();
  const auto want = results();
  for (const char* name : {"manifest.json", "backbone.safetensors", "optimizer.safetensors",
                           "centers-00001-of-00001.safetensors"}) {
    const fs::path file = at_the_end(name), elsewhere = folder_ / "elsewhere";
    fs::rename(file, elsewhere);
    fs::create_symlink("/disk/that/is/not/mounted", file);
    EXPECT_THAT([&] { run(Start::kResume); },
                ThrowsMessage<Error>(HasSubstr(std::string(name) + ": a link to")));
    fs::remove(file);
    fs::rename(elsewhere, file);
  }
  run(Start::kResume);
  EXPECT_EQ(results(), want);
}

TEST_F(Resume, KeepsEveryDamagedCheckpoint) {
  run();
  const fs::path damaged = checkpoint(12).string() + ".damaged";
  write_text(damaged / "of an earlier time", "");
  fs::remove(at_the_end("backbone.safetensors"));
  run(Start::kResume);
  EXPECT_TRUE(fs::exists(damaged / "of an earlier time"));
  EXPECT_TRUE(fs::exists(damaged.string() + "-2"));
}

TEST_F(Resume, IsRefusedWhereNoCheckpointIsWhole) {
  run();
  for (const std::int64_t step : {4, 8, 12}) fs::remove(checkpoint(step) / "manifest.json");
  EXPECT_THAT([&] { run(Start::kResume); },
              ThrowsMessage<Error>(HasSubstr("no checkpoint is whole")));
}

TEST_F(Resume, IsRefusedUnderAnotherPlanOrWithOtherData) {
  run();
  die_after(8);
  config_.train.batch_size = 32;
  EXPECT_THAT([&] { run(Start::kResume); },
              ThrowsMessage<Error>(HasSubstr("train.batch_size is 32")));
  config_.train.batch_size = 8;
  FaceRecordWriter writer(folder_ / "train.rec");
  for (std::uint64_t identity = 0; identity < kIdentities; ++identity)
    writer.add(static_cast<std::int32_t>(identity), picture(identity, 0));
  writer.commit();
  EXPECT_THAT([&] { run(Start::kResume); },
              ThrowsMessage<Error>(HasSubstr("the training set has 12 images of 12 identities, the "
                                             "checkpoint's run 48 of 12")));
}

TEST_F(Resume, IsRefusedWhereAsManyOtherPeopleAreInTheSet) {
  config_.data.train = folder_ / "people";
  for (std::uint64_t identity = 0; identity < kIdentities; ++identity) {
    for (std::uint64_t image = 0; image < kImages; ++image) {
      const auto bytes = picture(identity, image);
      write_text(
          folder_ / "people" / ("p" + std::to_string(identity)) / (std::to_string(image) + ".jpg"),
          std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
  }
  run();
  fs::rename(folder_ / "people/p3", folder_ / "people/z3");  // sorts behind all others
  EXPECT_THAT([&] { run(Start::kResume); },
              ThrowsMessage<Error>(HasSubstr("other people or another order")));
}

TEST_F(Resume, IsRefusedWhereTheRunEndedBeforeItsCheckpoint) {
  run();
  config_.train.steps = 8;
  EXPECT_THAT([&] { run(Start::kResume); },
              ThrowsMessage<Error>(HasSubstr("the checkpoint is of step 12, but this run ends "
                                             "after 8 steps: raise train.steps")));
}

TEST_F(Resume, SaysWhatElseIsNotAsItWas) {
  run();
  die_after(8);
  config_.schedule.lr = 0.05;
  run(Start::kResume);
  EXPECT_THAT(log_, HasSubstr("changed since: schedule.lr = 0.05, was 0.1"));
}

/// Pairs of an image with itself and with a very different one.
void write_easy_set(const fs::path& path) {
  VerificationSetWriter pairs(path);
  for (std::uint64_t pair = 0; pair < 20; ++pair)
    pairs.add(picture(100 + pair, 0), picture(pair % 2 == 0 ? 100 + pair : 300 + pair, 0),
              pair % 2 == 0);
  pairs.commit();
}

TEST_F(Resume, ChoosesTheBestAnewOnAnotherSetAndKeepsTheOneBefore) {
  write_easy_set(folder_ / "easy.bin");
  config_.eval.every = 4;
  const std::vector<std::string> hard = config_.eval.sets;
  config_.eval.sets = {folder_ / "easy.bin"};
  run();
  for (const std::int64_t step : {12}) fs::remove_all(checkpoint(step));
  const fs::path best = fs::path(config_.output) / "best.safetensors";
  const std::string of_easy = read_file(best);

  fs::rename(folder_ / "easy.bin", folder_ / "moved.bin");  // is the same set
  config_.eval.sets = {folder_ / "moved.bin"};
  run(Start::kResume);
  EXPECT_THAT(log_, Not(HasSubstr("chosen anew")));
  EXPECT_EQ(read_file(best), of_easy);

  fs::remove_all(checkpoint(12));
  config_.eval.sets = hard;
  run(Start::kResume);
  const std::string aside = "best-until-step-8.safetensors";
  EXPECT_THAT(log_, AllOf(HasSubstr("chosen anew"), HasSubstr(aside)));
  EXPECT_EQ(read_file(fs::path(config_.output) / aside), of_easy);
  double most = 0;  // of the evaluations before the last checkpoint
  for (const auto& line : metrics())
    if (line.contains("set") && line["set"] == "val" && line["step"] < 12)
      most = std::max<double>(most, line["accuracy"]);
  EXPECT_EQ(nlohmann::json::parse(read_file(at_the_end("manifest.json")))["state"]["best_accuracy"],
            most);
  EXPECT_TRUE(fs::exists(best));
}

TEST_F(Resume, SeesTheSetAsTheRunSawItAtItsStart) {
  config_.data.max_corrupt_share = 0.1;
  run();
  const auto want = results();
  open_dataset({.path = config_.data.train})->exclude(7, "broken since");
  die_after(4);
  run(Start::kResume);
  EXPECT_EQ(results(), want);
}

TEST_F(Resume, KeepsTheNewestAndThoseThatAreForGood) {
  config_.checkpoint = {.every = 2, .keep_last = 1, .keep_every = 5};
  run();
  for (std::int64_t step = 1; step <= 12; ++step)
    EXPECT_EQ(fs::exists(checkpoint(step)), step == 5 || step == 10 || step == 12) << step;
}

TEST_F(Resume, WritesTheLogOfOneRun) {
  config_.eval.every = 4;
  run();
  const auto want = metrics();
  die_after(8);
  write_text(fs::path(config_.output) / "metrics.jsonl",
             read_file(fs::path(config_.output) / "metrics.jsonl") + "{\"step\":13,\"lo");
  run(Start::kResume);
  const auto found = metrics();
  ASSERT_EQ(found.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(found[i]["step"], want[i]["step"]);
    EXPECT_EQ(found[i].size(), want[i].size());
  }
}

class StartFrom : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    config_.train.batch_size = 8;
    config_.eval.sets = {};
    run();
    first_ = config_.output;
    config_.output = folder_ / "second";
    config_.train.steps = 1;
    config_.schedule.lr = 0;  // so that the run ends with what it begins with
    config_.optimizer.weight_decay = 0;
  }

  at::Tensor centers() const {
    const SafetensorsFile file(at_the_end("centers-00001-of-00001.safetensors"));
    const TensorView& view = file.tensor("centers");
    return at::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, at::kFloat).clone();
  }

  at::Tensor first_centers() {
    const fs::path second = config_.output;
    config_.output = first_;
    config_.train.steps = 12;
    at::Tensor found = centers();
    config_.output = second;
    config_.train.steps = 1;
    return found;
  }

  fs::path first_;
};

TEST_F(StartFrom, TakesTheBackboneAlone) {
  config_.init.from = first_ / "last.safetensors";
  run();
  const auto want = load_backbone(first_ / "last.safetensors");
  const auto found = load_backbone(fs::path(config_.output) / "last.safetensors");
  for (const auto& item : want->named_parameters())
    EXPECT_TRUE(found->named_parameters()[item.key()].equal(item.value())) << item.key();
  EXPECT_FALSE(centers().equal(first_centers()));
}

TEST_F(StartFrom, TakesCentresThroughAClassMapOnAnyNumberOfRanks) {
  config_.init.from = first_ / "checkpoints" / "step-000000012";
  config_.init.class_map = folder_ / "map.txt";
  write_text(folder_ / "map.txt", "0 11\n5,0\n11 5\n");
  const at::Tensor saved = first_centers();
  for (const int world : {1, 2}) {
    config_.output = folder_ / ("on" + std::to_string(world));
    run_on(world);
    EXPECT_THAT(log_, HasSubstr("class centres: 3 taken from"));
    EXPECT_THAT(log_, HasSubstr("9 drawn"));
    const SafetensorsFile file(checkpoint(1) /
                               ("centers-00001-of-0000" + std::to_string(world) + ".safetensors"));
    const at::Tensor found =
        at::from_blob(const_cast<std::byte*>(file.tensor("centers").bytes.data()),
                      file.tensor("centers").shape, at::kFloat);
    EXPECT_TRUE(found[0].equal(saved[11]));
    EXPECT_TRUE(found[5].equal(saved[0]));
    EXPECT_FALSE(found[1].equal(saved[1]));
  }
}

TEST_F(StartFrom, GivesNewClassesTheMeanEmbeddingOfTheirImages) {
  config_.init.from = first_ / "checkpoints" / "step-000000012";
  config_.init.class_map = folder_ / "map.txt";
  config_.init.new_centers = NewCenters::kMean;
  write_text(folder_ / "map.txt", "0 0\n");
  run();
  EXPECT_THAT(log_, HasSubstr("11 from the mean embedding of their images"));
  const at::Tensor found = centers();
  EXPECT_TRUE(found[0].equal(first_centers()[0]));
  const auto backbone = load_backbone(first_ / "last.safetensors");
  backbone->eval();
  const torch::NoGradGuard no_grad;
  for (std::uint64_t identity = 1; identity < kIdentities; ++identity) {
    at::Tensor sum = at::zeros({32});
    for (std::uint64_t image = 0; image < kImages; ++image) {
      const RgbImage pixels = decode_image(picture(identity, image));
      const at::Tensor x = to_network_input(at::from_blob(
          const_cast<std::uint8_t*>(pixels.pixels.data()), {1, 112, 112, 3}, at::kByte));
      const at::Tensor y = backbone->forward(x)[0];
      sum += y / y.norm();
    }
    const at::Tensor want = sum / sum.norm() * (0.01 * std::sqrt(32.0));
    EXPECT_TRUE(found[static_cast<std::int64_t>(identity)].allclose(want, 1e-4, 1e-6)) << identity;
  }
}

TEST_F(StartFrom, RefusesAnotherSizeOfEmbeddingsAndAnotherNetwork) {
  config_.init.from = first_ / "last.safetensors";
  config_.model.embedding_size = 64;
  EXPECT_THAT([&] { run(); },
              ThrowsMessage<Error>(HasSubstr("its embeddings have 32 numbers, this run's 64")));
  config_.output = folder_ / "third";
  config_.model.embedding_size = 32;
  config_.model.network = "mbf";
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(HasSubstr("a tiny, this run trains a mbf")));
}

TEST_F(StartFrom, SaysWhereTheCheckpointsOfARunAre) {
  config_.init.from = first_;
  EXPECT_THAT([&] { run(); },
              ThrowsMessage<Error>(HasSubstr("not a checkpoint, it has no backbone.safetensors")));
}

TEST_F(StartFrom, LeavesFrozenStagesAsTheyWere) {
  config_.init.from = first_ / "last.safetensors";
  config_.schedule.lr = 0.1;
  config_.train.steps = 3;
  config_.model.freeze = {"conv1", "bn1", "prelu", "layer1"};
  run();
  const auto want = load_backbone(first_ / "last.safetensors");
  const auto found = load_backbone(fs::path(config_.output) / "last.safetensors");
  const auto is_frozen = [](const std::string& name) {
    return name.starts_with("conv1.") || name.starts_with("bn1.") || name.starts_with("prelu.") ||
           name.starts_with("layer1.");
  };
  for (const auto& item : want->named_parameters()) {
    if (item.key() == "features.weight") continue;  // which never trains
    EXPECT_EQ(found->named_parameters()[item.key()].equal(item.value()), is_frozen(item.key()))
        << item.key();
  }
  for (const auto& item : want->named_buffers())
    EXPECT_EQ(found->named_buffers()[item.key()].equal(item.value()), is_frozen(item.key()))
        << item.key();
}

TEST_F(StartFrom, NamesThePartsThatThereAreToFreeze) {
  config_.model.freeze = {"layer9"};
  EXPECT_THAT([&] { run(); }, ThrowsMessage<Error>(AllOf(HasSubstr("no part 'layer9' to freeze"),
                                                         HasSubstr("conv1 bn1 prelu layer1"))));
}

}  // namespace
}  // namespace pfc
