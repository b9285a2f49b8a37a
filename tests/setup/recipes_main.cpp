// The program of recipe_tests: ranks are threads.
#include <gmock/gmock.h>

#include "comm/thread_communicator.h"
#include "ranks.h"

void pfc::on_ranks(const std::function<void(Communicator& comm)>& body) {
  for (const int world : {1, 2, 3}) {
    SCOPED_TRACE(world);
    run_ranks(world, body);
  }
}

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
