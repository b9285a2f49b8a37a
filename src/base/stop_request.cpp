#include "pfc/base/stop_request.h"

namespace pfc {
namespace {

volatile std::sig_atomic_t received = 0;

extern "C" void remember(int) {
  received = 1;
}

struct sigaction take(int signal, int flags = SA_RESETHAND) {
  struct sigaction before {
  }, action{};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART | flags;
  ::sigaction(signal, nullptr, &before);
  if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  return before;
}

}  // namespace

StopRequest::StopRequest() {
  received = 0;
  terminate_ = take(SIGTERM);
  interrupt_ = take(SIGINT);
  user_ = take(SIGUSR1);
  hang_up_ = take(SIGHUP, 0);
  pipe_ = take(SIGPIPE, 0);
}

StopRequest::~StopRequest() {
  ::sigaction(SIGTERM, &terminate_, nullptr);
  ::sigaction(SIGINT, &interrupt_, nullptr);
  ::sigaction(SIGUSR1, &user_, nullptr);
  ::sigaction(SIGHUP, &hang_up_, nullptr);
  ::sigaction(SIGPIPE, &pipe_, nullptr);
}

bool StopRequest::made() const {
  return received != 0;
}

}  // namespace pfc
