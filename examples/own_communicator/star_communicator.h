#pragma once

#include <pfc/comm/communicator.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

/// Ranks are processes of one machine, and each has a socket to rank 0. Rank 0 receives what the
/// others give, computes, and answers.
class StarCommunicator final : public pfc::Communicator {
 public:
  /// sockets [world]: of rank 0, those to the others; of another rank, the first is that to rank 0.
  /// The rest is not used. A rank that waits longer than `timeout` for another throws.
  StarCommunicator(int rank, std::vector<int> sockets, std::chrono::milliseconds timeout);

 private:
  using Tensors = std::vector<at::Tensor>;  ///< one for each rank
  using Answer = Tensors (*)(const Tensors& given);

  pfc::Pending exchange(const at::Tensor& given, const at::Tensor& result, Answer answer,
                        const std::string& call);
  void send(int to, const at::Tensor& tensor, const std::string& call) const;
  void receive(int from, const at::Tensor& tensor, const std::string& call) const;
  [[noreturn]] void fail(int other, const std::string& call) const;

  pfc::Pending start_all_gather(const at::Tensor& local, const std::string& call) override;
  pfc::Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) override;
  pfc::Pending start_all_reduce(at::Tensor& tensor, const std::string& call) override;
  pfc::Pending start_broadcast(at::Tensor& tensor, const std::string& call) override;
  void do_barrier(const std::string& call) override;

  std::vector<int> sockets_;
};

/// Runs body(comm) on `world` ranks. This process is rank 0 and starts the others. Returns 0 if
/// every body did. Call it before anything else has started threads.
int on_processes(int world, const std::function<int(pfc::Communicator& comm)>& body,
                 std::chrono::milliseconds timeout = std::chrono::minutes(5));
