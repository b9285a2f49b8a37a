#include "comm/gloo_group.h"

#define USE_C10D_GLOO  // LibTorch's header is empty without it
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

namespace pfc {

c10::intrusive_ptr<c10d::ProcessGroup> make_gloo_group(const c10::intrusive_ptr<c10d::Store>& store,
                                                       int rank, int world,
                                                       std::chrono::milliseconds timeout) {
  using Group = c10d::ProcessGroup;
  auto group = c10::make_intrusive<Group>(store, rank, world);
  // The default options heed GLOO_SOCKET_IFNAME, which names the network to use.
  const auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(
      store, rank, world, c10d::ProcessGroupGloo::Options::create_default(timeout));
  group->setBackend(at::kCPU, Group::GLOO, c10::intrusive_ptr<c10d::Backend>(gloo));
  group->setDefaultBackend(Group::GLOO);
  return group;
}

}  // namespace pfc
