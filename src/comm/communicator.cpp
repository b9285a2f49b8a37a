#include "pfc/comm/communicator.h"

#include <utility>

namespace pfc {

Pending::Pending(at::Tensor result, std::function<void()> finish, std::function<void()> poll)
    : result_(std::move(result)), finish_(std::move(finish)), poll_(std::move(poll)) {}

Pending::Pending(Pending&& other) noexcept
    : result_(std::move(other.result_)),
      finish_(std::exchange(other.finish_, nullptr)),
      poll_(std::exchange(other.poll_, nullptr)) {}

Pending::~Pending() {
  if (finish_) finish_();
}

at::Tensor Pending::wait() {
  if (finish_) std::exchange(finish_, nullptr)();
  return result_;
}

void Pending::poll() {
  if (finish_ && poll_) poll_();
}

namespace {

class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world() const override { return 1; }
  Pending all_gather(const at::Tensor& local) override { return done(local); }
  Pending reduce_scatter(const at::Tensor& full) override { return done(full); }
  Pending all_reduce(at::Tensor& tensor) override { return done(tensor); }
  Pending broadcast(at::Tensor& tensor) override { return done(tensor); }
  void barrier() override {}

 private:
  static Pending done(const at::Tensor& tensor) { return Pending(tensor, nullptr, nullptr); }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace pfc
