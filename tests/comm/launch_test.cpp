#include "pfc/comm/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Variables = std::map<std::string, std::string>;

Launch launch(const Variables& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

const Variables kMpirun = {{"OMPI_COMM_WORLD_SIZE", "6"},
                           {"OMPI_COMM_WORLD_RANK", "4"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "3"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}};
const Variables kTorchrun = {{"TORCHELASTIC_RUN_ID", "none"},
                             {"RANK", "9"},
                             {"WORLD_SIZE", "16"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "8"},
                             {"MASTER_ADDR", "10.0.0.7"},
                             {"MASTER_PORT", "29400"}};
const Variables kSrun = {{"SLURM_STEP_NUM_TASKS", "4"},
                         {"SLURM_PROCID", "3"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_STEP_TASKS_PER_NODE", "2(x2)"},
                         {"SLURM_STEP_NODELIST", "gpu[03-04]"},
                         {"SLURM_JOB_ID", "1234567"}};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}

TEST(Launch, AProcessWithoutALauncherIsAlone) {
  EXPECT_EQ(launch({}).way, Launch::Way::kAlone);
  EXPECT_EQ(launch({}).world, 1);
}

TEST(Launch, UnderstandsMpirun) {
  const Launch found = launch(kMpirun);
  EXPECT_EQ(found.way, Launch::Way::kMpi);
  EXPECT_EQ(found.rank, 4);
  EXPECT_EQ(found.world, 6);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_world, 3);
}

TEST(Launch, UnderstandsTorchrun) {
  const Launch found = launch(kTorchrun);
  EXPECT_EQ(found.way, Launch::Way::kRendezvous);
  EXPECT_EQ(found.rank, 9);
  EXPECT_EQ(found.world, 16);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_world, 8);
  EXPECT_EQ(found.address, "10.0.0.7");
  EXPECT_EQ(found.port, 29400);
  EXPECT_FALSE(found.is_served);
}

TEST(Launch, KnowsWhetherTorchrunServesAndHowOftenItHasStarted) {
  const Launch found = launch(with(with(kTorchrun, "TORCHELASTIC_USE_AGENT_STORE", "True"),
                                   "TORCHELASTIC_RESTART_COUNT", "2"));
  EXPECT_TRUE(found.is_served);
  EXPECT_EQ(found.attempt, 2);
}

TEST(Launch, UnderstandsTheVariablesOfTorchrunFromOthersToo) {
  Variables variables = kTorchrun;
  for (const char* const name : {"TORCHELASTIC_RUN_ID", "LOCAL_RANK", "LOCAL_WORLD_SIZE"})
    variables.erase(name);
  const Launch found = launch(variables);
  EXPECT_EQ(found.way, Launch::Way::kRendezvous);
  EXPECT_EQ(found.rank, 9);
  EXPECT_EQ(found.local_rank, 0);
  EXPECT_EQ(found.local_world, 1);
  EXPECT_EQ(found.port, 29400);
  for (const char* const name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) {
    Variables some = variables;
    some.erase(name);
    EXPECT_EQ(launch(some).way, Launch::Way::kAlone) << name;
  }
}

TEST(Launch, UnderstandsSrun) {
  const Launch found = launch(kSrun);
  EXPECT_EQ(found.way, Launch::Way::kRendezvous);
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.world, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_world, 2);
  EXPECT_EQ(found.address, "gpu03");
  EXPECT_EQ(found.port, 20000 + 4567);
}

TEST(Launch, FindsTheFirstHostOfSlurmsLists) {
  for (const auto& [list, first] : std::map<std::string, std::string>{
           {"gpu7", "gpu7"}, {"a1,b[2-3]", "a1"}, {"n[010-019,7],z", "n010"}, {"n[4,9]", "n4"}}) {
    EXPECT_EQ(launch(with(kSrun, "SLURM_STEP_NODELIST", list)).address, first);
  }
}

TEST(Launch, SrunWithPmixIsMpis) {
  EXPECT_EQ(launch(with(kSrun, "PMIX_RANK", "3")).way, Launch::Way::kMpi);
}

TEST(Launch, TheOnlyProcessOfSrunOrTorchrunIsAlone) {
  Variables srun = with(with(kSrun, "SLURM_STEP_NUM_TASKS", "1"), "SLURM_PROCID", "0");
  srun["SLURM_LOCALID"] = "0";
  EXPECT_EQ(launch(srun).way, Launch::Way::kAlone);
  Variables torchrun = with(with(kTorchrun, "WORLD_SIZE", "1"), "RANK", "0");
  torchrun["LOCAL_RANK"] = "0";
  EXPECT_EQ(launch(torchrun).way, Launch::Way::kAlone);
}

TEST(Launch, AnSbatchScriptItselfIsAlone) {
  EXPECT_EQ(launch({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}).way, Launch::Way::kAlone);
}

TEST(Launch, RefusesVariablesThatMakeNoSense) {
  EXPECT_THAT([] { launch(with(kMpirun, "OMPI_COMM_WORLD_RANK", "x")); },
              ThrowsMessage<Error>(HasSubstr("OMPI_COMM_WORLD_RANK is \"x\", want a number")));
  EXPECT_THAT([] { launch(with(kMpirun, "OMPI_COMM_WORLD_RANK", "6")); },
              ThrowsMessage<Error>(HasSubstr("rank 6 of 6")));
  EXPECT_THAT([] { launch(with(kTorchrun, "LOCAL_RANK", "-1")); },
              ThrowsMessage<Error>(HasSubstr("LOCAL_RANK")));
  Variables cut = kTorchrun;
  cut.erase("WORLD_SIZE");
  EXPECT_THAT([&] { launch(cut); }, ThrowsMessage<Error>(HasSubstr("WORLD_SIZE is not set")));
  EXPECT_THAT([] { launch(with(kTorchrun, "RANK", "16")); },
              ThrowsMessage<Error>(HasSubstr("rank 16 of 16")));
  EXPECT_THAT([] { launch(with(kTorchrun, "MASTER_PORT", "70000")); },
              ThrowsMessage<Error>(HasSubstr("MASTER_PORT is 70000, want a port from 1 to 65535")));
  EXPECT_THAT([] { launch(with(kTorchrun, "MASTER_ADDR", "")); },
              ThrowsMessage<Error>(HasSubstr("MASTER_ADDR does not name the machine")));
}

TEST(Launch, RefusesTwoLaunchersAtOnce) {
  Variables both = kMpirun;
  both.insert(kTorchrun.begin(), kTorchrun.end());
  EXPECT_THAT([&] { launch(both); },
              ThrowsMessage<Error>(HasSubstr("started by mpirun and by torchrun")));
}

TEST(CountGpus, CountsAGpuThatSeveralRanksSeeOnce) {
  const GpuId none{}, one{1}, other{2};
  const auto expect = [](std::span<const GpuId> ids, int ranks, int gpus) {
    EXPECT_EQ(count_gpus(ids).ranks, ranks);
    EXPECT_EQ(count_gpus(ids).gpus, gpus);
  };
  expect(std::array{one, other}, 2, 2);
  expect(std::array{one, one, other, one}, 4, 2);
  expect(std::array{none, other, none}, 1, 1);
  expect(std::array{none, none}, 0, 0);
}

TEST(DecideOnGpus, RanksUseThemWhereEveryOneFindsOne) {
  EXPECT_FALSE(decide_on_gpus(UseGpus::kNever, 4, 4));
  EXPECT_TRUE(decide_on_gpus(UseGpus::kWhereThereAre, 4, 4));
  EXPECT_FALSE(decide_on_gpus(UseGpus::kWhereThereAre, 3, 4));
  EXPECT_TRUE(decide_on_gpus(UseGpus::kAlways, 4, 4));
  EXPECT_THAT([] { decide_on_gpus(UseGpus::kAlways, 3, 4); },
              ThrowsMessage<Error>(HasSubstr("1 of 4 ranks found none")));
  EXPECT_THAT([] { decide_on_gpus(UseGpus::kAlways, 0, 1); },
              ThrowsMessage<Error>(HasSubstr("no GPU was found")));
}

}  // namespace
}  // namespace pfc
