#pragma once

#include "pfc/comm/launch.h"

namespace pfc {

/// One of two ranks of this machine as torchrun would start them; in tests both are threads.
inline Launch of_two(int rank, int port) {
  return {.way = Launch::Way::kRendezvous,
          .rank = rank,
          .world = 2,
          .address = "127.0.0.1",
          .port = port};
}

}  // namespace pfc
