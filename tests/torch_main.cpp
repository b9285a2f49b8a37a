// The tests that need LibTorch. Under mpirun or torchrun every process runs them, on its rank of
// one world.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/thread_communicator.h"
#include "pfc/comm/join_ranks.h"
#include "ranks.h"

namespace pfc {
namespace {

Communicator* g_launched = nullptr;

}  // namespace

void on_ranks(const std::function<void(Communicator& comm)>& body) {
  if (g_launched != nullptr) return body(*g_launched);
  for (const int world : {1, 2, 3, 4}) {
    SCOPED_TRACE(world);
    run_ranks(world, body);
  }
}

}  // namespace pfc

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  const pfc::Launch launch = pfc::find_launch();
  if (launch.way == pfc::Launch::Way::kAlone) return RUN_ALL_TESTS();
  const auto comm = pfc::join_ranks(launch, pfc::UseGpus::kNever, std::chrono::seconds(60));
  pfc::g_launched = comm.get();
  const int status = RUN_ALL_TESTS();
  if (status != 0) pfc::end_all_ranks(status);
  return status;
}
