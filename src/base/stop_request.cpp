#include "pfc/base/stop_request.h"

#include <csignal>

namespace pfc {
namespace {

volatile std::sig_atomic_t received = 0;

extern "C" void remember(int signal) {
  received = signal;
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

StopRequest::StopRequest() {
  received = 0;
  for (const int signal : {SIGTERM, SIGINT}) handle(signal, remember, SA_RESTART | SA_RESETHAND);
}

StopRequest::~StopRequest() {
  for (const int signal : {SIGTERM, SIGINT}) handle(signal, SIG_DFL, 0);
}

bool StopRequest::made() const {
  return received != 0;
}

std::string_view StopRequest::signal() const {
  if (received == 0) return "";
  return received == SIGTERM ? "SIGTERM" : "SIGINT";
}

}  // namespace pfc
