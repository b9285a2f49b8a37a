#include "pfc/eval/embedder.h"
#include "pfc/model/backbone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/dropout.h>
#include <torch/types.h>

#include <algorithm>
#include <string>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"
#include "pfc/data/image_codec.h"
#include "pfc/data/verification_set.h"
#include "pfc/model/backbone_file.h"
#include "ranks.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Embeds a face as the brightness of its left and right half. A dropout shows whether the network
/// is in training mode.
class Halves : public Backbone {
 public:
  Halves() {
    frozen_ = register_module("frozen", torch::nn::Dropout(0.5));
    dropout_ = register_module("dropout", torch::nn::Dropout(0.5));
    frozen_->eval();
  }
  torch::Tensor forward(torch::Tensor images) override {
    largest_batch = std::max(largest_batch, images.size(0));
    const torch::Tensor halves =
        images.reshape({images.size(0), 3, kFaceSize, 2, kFaceSize / 2}).mean({1, 2, 4});
    return dropout_(halves);
  }
  std::int64_t largest_batch = 0;
  torch::nn::Dropout frozen_{nullptr}, dropout_{nullptr};
};

/// A face whose left half has one grey and the right half another.
std::vector<std::byte> face(int left, int right) {
  RgbImage image{.width = kFaceSize, .height = kFaceSize, .pixels = {}};
  for (int i = 0; i < kFaceSize * kFaceSize * 3; ++i) {
    const bool is_left = i / 3 % kFaceSize < kFaceSize / 2;
    image.pixels.push_back(static_cast<std::uint8_t>(is_left ? left : right));
  }
  return encode_png(image);
}

/// Two pairs, the first of one person.
VerificationSet set_of(std::string_view name, const std::vector<std::vector<std::byte>>& images) {
  const TemporaryFolder folder;
  const std::string file = std::string(name) + ".bin";
  VerificationSetWriter writer(folder / file);
  writer.add(images[0], images[1], true);
  writer.add(images[2], images[3], false);
  writer.commit();
  return VerificationSet::open(folder / file);  // which stays mapped
}

class Embedder : public testing::Test {
 protected:
  VerificationSet set_ = set_of("halves", {face(255, 0), face(0, 255), face(255, 255), face(0, 0)});
};

using RanksEmbedder = Embedder;

TEST_F(Embedder, EmbedsEveryImageAndItsMirrorImage) {
  Halves network;
  const PairEmbeddings embeddings = embed_pairs(network, set_);
  EXPECT_EQ(embeddings.set, "halves");
  EXPECT_EQ(embeddings.dim, 2);
  EXPECT_THAT(embeddings.originals, ElementsAre(1, -1, -1, 1, 1, 1, -1, -1));
  EXPECT_THAT(embeddings.mirrored, ElementsAre(-1, 1, 1, -1, 1, 1, -1, -1));
  EXPECT_THAT(embeddings.same, ElementsAre(1, 0));
}

TEST_F(RanksEmbedder, ShareTheImagesAndAllGetAll) {
  on_ranks([&](Communicator& comm) {  // in a world of 3 the ranks have 2, 2 and no images; in a
                                      // world of 4 one each
    Halves network;
    const PairEmbeddings embeddings = embed_pairs(network, set_, {.batch_size = 1}, comm);
    EXPECT_THAT(embeddings.originals, ElementsAre(1, -1, -1, 1, 1, 1, -1, -1));
    EXPECT_THAT(embeddings.mirrored, ElementsAre(-1, 1, 1, -1, 1, 1, -1, -1));
    EXPECT_THAT(embeddings.same, ElementsAre(1, 0));
  });
}

/// Images in memory, named by their numbers.
class Images : public ImageSource {
 public:
  explicit Images(std::vector<std::vector<std::byte>> images) : images_(std::move(images)) {}
  std::int64_t size() const override { return std::ssize(images_); }
  std::span<const std::byte> image(std::int64_t i, std::vector<std::byte>&) const override {
    return images_[static_cast<std::size_t>(i)];
  }
  std::string name(std::int64_t i) const override { return std::to_string(i); }

 private:
  std::vector<std::vector<std::byte>> images_;
};

TEST(Embed, GivesEmbeddingsInOrderAndLeavesOutWhatDoesNotDecode) {
  std::vector<std::byte> broken = face(9, 9);
  broken.resize(broken.size() / 2);
  const Images images({face(255, 0), broken, face(0, 255), face(0, 0), broken});
  for (const std::int64_t batch_size : {1, 2, 10}) {
    Halves network;
    std::vector<std::int64_t> numbers, left_out;
    std::vector<float> values;
    embed(network, images,
          {.embedding =
               [&](std::int64_t image, std::span<const float> embedding) {
                 numbers.push_back(image);
                 values.insert(values.end(), embedding.begin(), embedding.end());
               },
           .left_out =
               [&](std::int64_t image, const std::string& reason) {
                 left_out.push_back(image);
                 EXPECT_FALSE(reason.empty());
               }},
          {.batch_size = batch_size});
    EXPECT_THAT(numbers, ElementsAre(0, 2, 3));
    EXPECT_THAT(left_out, ElementsAre(1, 4));
    EXPECT_THAT(values, ElementsAre(1, -1, -1, 1, -1, -1));
  }
}

TEST(Embed, AnImageThatCannotBeReadIsNotLeftOut) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/proc/self/mem", folder / "1.png");  // reading it is EIO
  Halves network;
  EXPECT_THAT(
      [&] {
        embed(network, *open_images(folder.path()),
              {.embedding = [](std::int64_t, std::span<const float>) {},
               .left_out = [](std::int64_t, const std::string&) {}},
              {});
      },
      testing::ThrowsMessage<IoError>(HasSubstr("1.png: cannot read: Input/output error")));
}

TEST(RanksEmbed, AllGetEveryRowInOrderAndAreToldOfEachImageThatIsLeftOut) {
  std::vector<std::byte> broken = face(9, 9);
  broken.resize(broken.size() / 2);
  const Images images({face(255, 0), broken, face(0, 255), face(0, 0), {}});
  on_ranks([&](Communicator& comm) {
    // With batches of 2 or 3, some ranks have none of the last round's images.
    for (const std::int64_t batch_size : {1, 2, 3, 10}) {
      Halves network;
      std::vector<std::int64_t> numbers;
      std::vector<float> values;
      std::vector<std::string> left_out;
      embed(network, images,
            {.embedding =
                 [&](std::int64_t image, std::span<const float> embedding) {
                   numbers.push_back(image);
                   values.insert(values.end(), embedding.begin(), embedding.end());
                 },
             .left_out =
                 [&](std::int64_t image, const std::string& reason) {
                   EXPECT_EQ(std::ssize(numbers), image == 1 ? 1 : 3);
                   left_out.push_back(std::to_string(image) + " " + reason);
                 }},
            {.batch_size = batch_size, .add_mirrored = batch_size == 2}, comm);
      EXPECT_THAT(numbers, ElementsAre(0, 2, 3));
      if (batch_size == 2) {
        EXPECT_THAT(values, ElementsAre(0, 0, 0, 0, -2, -2));
      } else {
        EXPECT_THAT(values, ElementsAre(1, -1, -1, 1, -1, -1));
      }
      EXPECT_THAT(left_out, ElementsAre(testing::StartsWith("1 "), "4 the image is empty"));
    }
  });
}

TEST(RanksEmbed, ThatHaveOtherImagesAreRefused) {
  on_ranks([](Communicator& comm) {
    if (comm.world() == 1) return;
    const Images images(std::vector<std::vector<std::byte>>(comm.is_first() ? 3 : 2, face(255, 0)));
    Halves network;
    EXPECT_THAT(
        [&] { embed(network, images, {}, {}, comm); },
        testing::ThrowsMessage<Error>(HasSubstr("rank 1 has 2 images and rank 0 3: ranks share")));
  });
}

TEST_F(Embedder, BatchesAndThreadsDoNotMatter) {
  for (const std::int64_t batch_size : {1, 3, 4, 100}) {
    for (const int threads : {1, 2, 7}) {
      Halves network;
      const auto embeddings =
          embed_pairs(network, set_, {.batch_size = batch_size, .threads = threads});
      EXPECT_THAT(embeddings.originals, ElementsAre(1, -1, -1, 1, 1, 1, -1, -1));
      EXPECT_EQ(network.largest_batch, std::min<std::int64_t>(batch_size, 4));
    }
  }
}

TEST_F(Embedder, GivesEveryModuleItsModeBack) {
  Halves network;
  embed_pairs(network, set_);
  EXPECT_TRUE(network.is_training());
  EXPECT_TRUE(network.dropout_->is_training());
  EXPECT_FALSE(network.frozen_->is_training());
}

TEST_F(Embedder, ReportsProgressUpToTheEnd) {
  Halves network;
  std::vector<std::int64_t> done;
  embed_pairs(network, set_,
              {.batch_size = 3, .progress = [&](std::int64_t now, std::int64_t total) {
                 done.push_back(now);
                 EXPECT_EQ(total, 4);
               }});
  EXPECT_THAT(done, ElementsAre(3, 4));
}

TEST_F(Embedder, NamesSetAndImageThatDoesNotDecode) {
  const auto broken =
      set_of("broken", {face(1, 2), face(1, 2), face(1, 2), std::vector<std::byte>(20)});
  Halves network;
  try {
    embed_pairs(network, broken);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("broken: image 3: "));
  }
  EXPECT_TRUE(network.is_training());
}

TEST(EmbeddingNetwork, WorksOnAGpuWhereThereIsOneAndIsAskedFor) {
  const TemporaryFolder folder;
  save_backbone(*make_backbone("tiny", 8, 1), "tiny", 8, folder / "tiny.safetensors");
  const auto load = [&](UseGpus use) {
    return load_embedding_network(folder / "tiny.safetensors", use, /*local_rank=*/3);
  };
  EXPECT_FALSE(load(UseGpus::kNever).gpu);
  if (const int found = gpus(); found > 0) {
    const EmbeddingNetwork loaded = load(UseGpus::kAlways);
    EXPECT_EQ(loaded.gpu, 3 % found);
    EXPECT_TRUE(loaded.network->parameters().front().is_cuda());
  } else {
    EXPECT_FALSE(load(UseGpus::kWhereThereAre).gpu);
    EXPECT_THAT([&] { load(UseGpus::kAlways); },
                testing::ThrowsMessage<Error>(HasSubstr("no GPU was found")));
  }
}

}  // namespace
}  // namespace pfc
