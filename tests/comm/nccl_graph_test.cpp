// NCCL's collectives within CUDA graphs. One rank is enough, so one GPU is.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "head/cuda_graph.h"
#include "head/gpu_memory.h"
#include "pfc/comm/nccl_communicator.h"

namespace pfc {
namespace {

void end_with(const std::string& sentence) {
  std::fprintf(stderr, "%s\n", sentence.c_str());
  std::_Exit(1);
}

TEST(NcclCommunicator, CollectivesOfOneRankInAGraphGiveItsInputs) {
  const auto comm =
      make_nccl_communicator({}, make_self_communicator(), std::chrono::seconds(60), end_with);
  const auto stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, kGpu.index());
  const c10::cuda::CUDAStreamGuard on_stream(stream);
  for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    const at::Tensor given = at::empty({300, 40}, on_gpu(type)), gathered = at::empty_like(given),
                     part = at::empty_like(given);
    at::Tensor sum = at::empty_like(given), first = at::empty_like(given);
    CudaGraph graph(stream);
    for (int time = 0; time < 4; ++time) {  // as it is, recorded, and launched twice more
      const at::Tensor want = torch::randn({300, 40}).to(type);
      given.copy_(want);
      graph.run([&] {
        gathered.copy_(comm->all_gather(given).wait());
        part.copy_(comm->reduce_scatter(given).wait());
        sum.copy_(given);
        comm->all_reduce(sum).wait();
        first.copy_(given);
        comm->broadcast(first).wait();
      });
      for (const at::Tensor& found : {gathered, part, sum, first})
        EXPECT_TRUE(found.cpu().equal(want)) << type << ", time " << time;
    }
    // Whoever watches for collectives that are stuck has looked by then, and not at these.
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
  }
}

}  // namespace
}  // namespace pfc
