#include "comm/thread_communicator.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "pfc/base/error.h"

namespace pfc {
namespace {

/// The inputs and outputs of one collective, by rank.
using Tensors = std::vector<at::Tensor>;
using Compute = std::function<void(const Tensors& inputs, Tensors& outputs)>;

/// What the ranks share. The rank that joins a collective last computes it.
class Meeting {
 public:
  Meeting(int world, std::chrono::milliseconds timeout) : world_(world), timeout_(timeout) {}

  /// Rank `rank` joins its collective `number`.
  void join(std::int64_t number, int rank, const at::Tensor& input, const at::Tensor& output,
            const Compute& compute) {
    const std::lock_guard lock(mutex_);
    Collective& collective = collectives_[number];
    collective.inputs.resize(static_cast<std::size_t>(world_));
    collective.outputs.resize(static_cast<std::size_t>(world_));
    collective.inputs[static_cast<std::size_t>(rank)] = input;
    collective.outputs[static_cast<std::size_t>(rank)] = output;
    if (++collective.joined < world_) return;
    const at::NoGradGuard no_grad;
    compute(collective.inputs, collective.outputs);
    collective.inputs.clear();
    collective.outputs.clear();
    changed_.notify_all();
  }

  void wait(std::int64_t number, int rank, const std::string& call) {
    std::unique_lock lock(mutex_);
    Collective& collective = collectives_[number];
    const bool woken = changed_.wait_for(
        lock, timeout_, [&] { return collective.joined == world_ || failure_ != nullptr; });
    if (collective.joined == world_) {
      if (++collective.left == world_) collectives_.erase(number);
      return;
    }
    const std::string me = "rank " + std::to_string(rank) + ": " + call;
    if (!woken) {
      throw Error(me + " was not joined by all ranks within " + std::to_string(timeout_.count()) +
                  " ms");
    }
    throw Error(me + ": another rank failed");
  }

  void fail(std::exception_ptr failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
    changed_.notify_all();
  }
  std::exception_ptr failure() const { return failure_; }

 private:
  struct Collective {
    Tensors inputs, outputs;
    int joined = 0, left = 0;
  };

  int world_;
  std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Collective> collectives_;
  std::exception_ptr failure_;
};

at::Tensor sum_of(const Tensors& tensors) {
  at::Tensor sum = tensors[0].clone();
  for (std::size_t i = 1; i < tensors.size(); ++i) sum.add_(tensors[i]);
  return sum;
}

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(Meeting& meeting, int rank, int world)
      : Communicator(rank, world), meeting_(meeting) {}

 private:
  Pending start(const at::Tensor& input, const at::Tensor& output, const Compute& compute,
                const std::string& call) {
    const std::int64_t number = started_++;
    meeting_.join(number, rank(), input, output, compute);
    return Pending(
        output, [this, number, call] { meeting_.wait(number, rank(), call); }, nullptr);
  }

  Pending start_all_gather(const at::Tensor& local, const std::string& call) override {
    auto sizes = local.sizes().vec();
    sizes.at(0) *= world();
    return start(
        local, at::empty(sizes, local.options()),
        [](const Tensors& inputs, Tensors& outputs) {
          const at::Tensor all = at::cat(inputs);
          for (at::Tensor& output : outputs) output.copy_(all);
        },
        call);
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string& call) override {
    auto sizes = full.sizes().vec();
    sizes.at(0) /= world();
    return start(
        full, at::empty(sizes, full.options()),
        [](const Tensors& inputs, Tensors& outputs) {
          const auto parts = sum_of(inputs).chunk(std::ssize(outputs));
          for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].copy_(parts[i]);
        },
        call);
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string& call) override {
    return start(
        tensor, tensor,
        [](const Tensors& inputs, Tensors& outputs) {
          const at::Tensor sum = sum_of(inputs);
          for (at::Tensor& output : outputs) output.copy_(sum);
        },
        call);
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string& call) override {
    return start(
        tensor, tensor,
        [](const Tensors& inputs, Tensors& outputs) {
          for (std::size_t i = 1; i < outputs.size(); ++i) outputs[i].copy_(inputs[0]);
        },
        call);
  }
  void do_barrier(const std::string& call) override {
    start(
        {}, {}, [](const Tensors&, Tensors&) {}, call)
        .wait();
  }

  Meeting& meeting_;
  std::int64_t started_ = 0;
};

}  // namespace

void run_ranks(int world, const std::function<void(Communicator& comm)>& body,
               std::chrono::milliseconds timeout) {
  Meeting meeting(world, timeout);
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(world));
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      at::set_num_threads(1);
      ThreadCommunicator comm(meeting, rank, world);
      try {
        body(comm);
      } catch (...) {
        meeting.fail(std::current_exception());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (meeting.failure()) std::rethrow_exception(meeting.failure());
}

}  // namespace pfc
