#include "comm/gloo_communicator.h"

#include <string>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "comm/gloo_group.h"
#include "pfc/comm/process_group_communicator.h"

namespace pfc {
namespace {

/// What the ranks tell each other at the address before they are connected. If the launcher does
/// not serve it, rank 0 does.
c10::intrusive_ptr<c10d::Store> store_at(const Launch& launch, std::chrono::seconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(launch.port);
  options.isServer = launch.rank == 0 && !launch.is_served;
  options.waitWorkers = false;
  options.timeout = timeout;
  // What an earlier attempt of the same ranks has left there is not read.
  return c10::make_intrusive<c10d::PrefixStore>(
      "pfc/" + std::to_string(launch.attempt),
      c10::make_intrusive<c10d::TCPStore>(launch.address, options));
}

[[noreturn]] void fail(const Launch& launch, const std::string& text) {
  throw Error("rank " + std::to_string(launch.rank) + ": did not meet the other ranks at " +
              launch.address + ":" + std::to_string(launch.port) +
              ", where rank 0's machine must be reached: " + text.substr(0, text.find('\n')));
}

}  // namespace

std::unique_ptr<Communicator> make_gloo_communicator(const Launch& launch,
                                                     std::chrono::seconds timeout) {
  try {
    return make_process_group_communicator(
        make_gloo_group(store_at(launch, timeout), launch.rank, launch.world, timeout));
  } catch (const c10::Error& error) {
    fail(launch, error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail(launch, error.what());
  }
}

}  // namespace pfc
