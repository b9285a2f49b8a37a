#include "train/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "pfc/base/error.h"
#include "pfc/comm/gpus.h"
#include "pfc/comm/join_ranks.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

ComputeOn chosen(std::optional<Precision> precision) {
  Config config;
  config.train.precision = precision;
  return choose_device(config, *make_self_communicator());
}

TEST(Device, OnTheCpuTheBackboneIsInFloat32UnlessAskedOtherwise) {
  EXPECT_TRUE(chosen({}).device.is_cpu());
  EXPECT_EQ(chosen({}).precision, at::kFloat);
  EXPECT_EQ(chosen(Precision::kBFloat16).precision, at::kBFloat16);
  EXPECT_THAT([] { chosen(Precision::kFloat16); },
              ThrowsMessage<Error>(HasSubstr("train.precision is float16, which is a GPU's")));
}

TEST(Device, WithoutAGpuAutoIsTheCpuAndCudaIsRefused) {
  if (gpus() > 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_TRUE(join_ranks({}, UseGpus::kWhereThereAre)->device().is_cpu());
  EXPECT_THAT([] { join_ranks({}, UseGpus::kAlways); },
              ThrowsMessage<Error>(HasSubstr("no GPU was found")));
}

TEST(Device, ARunThatAsksForAGpuIsNotMadeOnACpu) {
  Config config;
  config.train.device = UseGpus::kAlways;
  EXPECT_THAT([&] { choose_device(config, *make_self_communicator()); },
              ThrowsMessage<Error>(HasSubstr("work on CPUs")));
}

TEST(Device, AnEmbeddingThatGpusCannotTakeIsRefusedAtTheStart) {
  Config config;
  config.train.precision = Precision::kBFloat16;
  config.model.embedding_size = 500;
  EXPECT_NO_THROW(choose_device(config, *make_self_communicator()));
  EXPECT_THAT(
      [&] {
        choose_device(config, *make_self_communicator({at::kCUDA, 0}));
      },
      ThrowsMessage<Error>(HasSubstr("model.embedding_size is 500, on a GPU")));
}

TEST(Device, OutOfMemorySaysWhatWasAskedWhatIsFreeAndWhatToDo) {
  std::string thrown;
  try {
    TORCH_CHECK_WITH(OutOfMemoryError, false,
                     "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity "
                     "of 79.10 GiB of which 1.20 GiB is free. Process 7 has 70 GiB in use.");
  } catch (const c10::OutOfMemoryError& error) {
    thrown = error.what_without_backtrace();
  }
  EXPECT_EQ(out_of_memory(thrown),
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 "
            "GiB of which 1.20 GiB is free; lower train.batch_size, raise train.micro_batches, or "
            "lower head.workspace_mb; `pfc plan` shows what fits");
}

}  // namespace
}  // namespace pfc
