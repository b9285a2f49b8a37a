#pragma once

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "comm/thread_communicator.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/base/random.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/record_io.h"
#include "pfc/data/verification_set.h"
#include "pfc/train/trainer.h"
#include "temporary_folder.h"

namespace pfc {

/// An image whose identity is the colours of its quarters; each image has its own noise.
inline std::vector<std::byte> picture(std::uint64_t identity, std::uint64_t number) {
  const CounterRandom colours(identity, RandomStream::kCentreInit),
      noise(identity * 1000 + number, RandomStream::kMirror);
  std::array<std::uint8_t, 12> colour{};  // of four quarters in three channels
  for (std::size_t i = 0; i < colour.size(); ++i)
    colour[i] = static_cast<std::uint8_t>(colours.below(200, i / 3, i % 3));
  RgbImage image{.width = kFaceSize, .height = kFaceSize, .pixels = {}};
  std::array<std::uint32_t, 4> grains{};
  for (std::size_t i = 0; i < std::size_t{kFaceSize} * kFaceSize * 3; ++i) {
    if (i % grains.size() == 0) grains = noise.words(0, i);
    const std::size_t x = i / 3 % kFaceSize, y = i / 3 / kFaceSize;
    const std::size_t quarter = (x >= kFaceSize / 2 ? 1 : 0) + (y >= kFaceSize / 2 ? 2 : 0);
    const auto grain = static_cast<std::uint8_t>(grains[i % grains.size()] % 50);
    image.pixels.push_back(static_cast<std::uint8_t>(colour[quarter * 3 + i % 3] + grain));
  }
  return encode_jpeg(image, 90);
}

/// A run of a few steps on pictures that can be learnt.
class SmallRun : public testing::Test {
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
    for (std::uint64_t pair = 0; pair < 10; ++pair) {
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

  /// Trains, and keeps what was printed.
  void run(Start start = Start::kAnew) { run_on(1, start); }
  /// The same on `world` ranks, each a thread.
  void run_on(int world, Start start = Start::kAnew) {
    if (world > 1) config_.train.threads = 1;
    testing::internal::CaptureStderr();
    try {
      run_ranks(world, [&](Communicator& comm) { train(config_, comm, start); });
    } catch (...) {
      log_ = testing::internal::GetCapturedStderr();
      throw;
    }
    log_ = testing::internal::GetCapturedStderr();
  }

  std::vector<nlohmann::json> metrics() const {
    std::istringstream lines(read_file(std::filesystem::path(config_.output) / "metrics.jsonl"));
    std::vector<nlohmann::json> parsed;
    for (std::string line; std::getline(lines, line);)
      parsed.push_back(nlohmann::json::parse(line));
    return parsed;
  }

  /// The losses that the run logged, in order.
  std::vector<double> losses() const {
    std::vector<double> losses;
    for (const auto& line : metrics())
      if (line.contains("loss")) losses.push_back(line["loss"]);
    return losses;
  }

  /// A file of the run's last checkpoint.
  std::filesystem::path at_the_end(const std::string& name) const {
    return checkpoint(config_.train.steps) / name;
  }
  std::filesystem::path checkpoint(std::int64_t step) const {
    return std::filesystem::path(config_.output) / "checkpoints" /
           format("step-%09lld", static_cast<long long>(step));
  }

  TemporaryFolder folder_;
  Config config_;
  std::string log_;
};

}  // namespace pfc
