#include "star_communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <pfc/base/error.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

StarCommunicator::StarCommunicator(int rank, std::vector<int> sockets,
                                   std::chrono::milliseconds timeout)
    : Communicator(rank, static_cast<int>(sockets.size())), sockets_(std::move(sockets)) {
  const timeval longest = {.tv_sec = timeout.count() / 1000,
                           .tv_usec = timeout.count() % 1000 * 1000};
  for (const int socket : sockets_) {
    if (socket < 0) continue;
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
    ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
  }
}

/// Every rank gives a tensor. Rank 0 makes the answers, and each rank's is written into its
/// `result`. This is done at once, so nothing is left to wait for.
pfc::Pending StarCommunicator::exchange(const at::Tensor& given, const at::Tensor& result,
                                        Answer answer, const std::string& call) {
  const at::NoGradGuard no_grad;
  if (rank() != 0) {
    send(0, given, call);
    receive(0, result, call);
  } else {
    Tensors all = {given};
    for (int other = 1; other < world(); ++other)
      receive(other, all.emplace_back(at::empty_like(given)), call);
    const Tensors answers = answer(all);
    for (int other = 1; other < world(); ++other) send(other, answers[other].contiguous(), call);
    result.copy_(answers[0]);
  }
  return {result, nullptr, nullptr};
}

void StarCommunicator::send(int to, const at::Tensor& tensor, const std::string& call) const {
  const char* next = static_cast<const char*>(tensor.const_data_ptr());
  for (std::size_t left = tensor.nbytes(); left > 0;) {
    const ssize_t sent = ::send(sockets_[to], next, left, MSG_NOSIGNAL);
    if (sent <= 0) fail(to, call);
    next += sent, left -= static_cast<std::size_t>(sent);
  }
}

void StarCommunicator::receive(int from, const at::Tensor& tensor, const std::string& call) const {
  char* next = static_cast<char*>(tensor.mutable_data_ptr());
  for (std::size_t left = tensor.nbytes(); left > 0;) {
    const ssize_t received = ::recv(sockets_[from], next, left, 0);
    if (received == 0) errno = ECONNRESET;  // the other has ended
    if (received <= 0) fail(from, call);
    next += received, left -= static_cast<std::size_t>(received);
  }
}

void StarCommunicator::fail(int other, const std::string& call) const {
  const std::string why = errno == EAGAIN ? "timed out" : std::strerror(errno);
  throw pfc::Error("rank " + std::to_string(rank()) + ": " + call + ": rank " +
                   std::to_string(other) + " did not join: " + why);
}

// A collective is what a rank gives, what it gets, and how rank 0 makes the one from the other.

pfc::Pending StarCommunicator::start_all_gather(const at::Tensor& local, const std::string& call) {
  auto sizes = local.sizes().vec();
  sizes.at(0) *= world();
  return exchange(
      local, at::empty(sizes, local.options()),
      [](const Tensors& given) { return Tensors(given.size(), at::cat(given)); }, call);
}

namespace {

at::Tensor sum_of(const std::vector<at::Tensor>& tensors) {
  at::Tensor sum = tensors[0].clone();
  for (std::size_t i = 1; i < tensors.size(); ++i) sum.add_(tensors[i]);
  return sum;
}

}  // namespace

pfc::Pending StarCommunicator::start_reduce_scatter(const at::Tensor& full,
                                                    const std::string& call) {
  auto sizes = full.sizes().vec();
  sizes.at(0) /= world();
  return exchange(
      full, at::empty(sizes, full.options()),
      [](const Tensors& given) {
        return sum_of(given).chunk(static_cast<std::int64_t>(given.size()));
      },
      call);
}

pfc::Pending StarCommunicator::start_all_reduce(at::Tensor& tensor, const std::string& call) {
  return exchange(
      tensor, tensor, [](const Tensors& given) { return Tensors(given.size(), sum_of(given)); },
      call);
}

pfc::Pending StarCommunicator::start_broadcast(at::Tensor& tensor, const std::string& call) {
  return exchange(
      tensor, tensor, [](const Tensors& given) { return Tensors(given.size(), given[0]); }, call);
}

void StarCommunicator::do_barrier(const std::string& call) {
  const at::Tensor nothing = at::zeros({1});
  exchange(
      nothing, nothing, [](const Tensors& given) { return given; }, call)
      .wait();
}

int on_processes(int world, const std::function<int(pfc::Communicator& comm)>& body,
                 std::chrono::milliseconds timeout) {
  std::vector<int> to_others(static_cast<std::size_t>(world), -1);
  std::vector<pid_t> others;
  for (int rank = 1; rank < world; ++rank) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) throw pfc::Error("no socket is left");
    const pid_t process = ::fork();
    if (process < 0) throw pfc::Error("no process can be started");
    if (process == 0) {
      // With these closed, every rank sees when rank 0 ends.
      for (int other = 1; other < rank; ++other) ::close(to_others[other]);
      ::close(ends[0]);
      std::vector<int> sockets(static_cast<std::size_t>(world), -1);
      sockets[0] = ends[1];
      StarCommunicator comm(rank, sockets, timeout);
      const int status = body(comm);
      std::fflush(nullptr);
      ::_exit(status);
    }
    ::close(ends[1]);
    to_others[rank] = ends[0];
    others.push_back(process);
  }
  StarCommunicator comm(0, to_others, timeout);
  int status = body(comm);
  for (int rank = 1; rank < world; ++rank) ::close(to_others[rank]);
  for (const pid_t process : others) {
    int how = 0;
    ::waitpid(process, &how, 0);
    if (how != 0) status = 1;
  }
  return status;
}
