#include "comm/mpi_communicator.h"

#include <ATen/Functions.h>
#include <mpi.h>

#include <exception>
#include <limits>
#include <string>
#include <thread>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using Clock = std::chrono::steady_clock;

bool mpi_runs() {
  int initialised = 0, finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  return initialised != 0 && finalised == 0;
}

void check(int status, const std::string& call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw Error(call + ": MPI: " + std::string(text, static_cast<std::size_t>(length)));
}

/// The type for numbers that are only moved. MPI has no bfloat16.
MPI_Datatype moved_type(at::ScalarType type, const std::string& call) {
  switch (at::elementSize(type)) {
    case 1:
      return MPI_UINT8_T;
    case 2:
      return MPI_UINT16_T;
    case 4:
      return MPI_UINT32_T;
    case 8:
      return MPI_UINT64_T;
    default:
      throw Error(call + ": MPI cannot carry this type");
  }
}

/// The type for numbers that are summed.
MPI_Datatype summed_type(at::ScalarType type, const std::string& call) {
  switch (type) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      throw Error(call + ": MPI cannot add up this type");
  }
}

int count_of(const at::Tensor& tensor, const std::string& call) {
  if (!tensor.is_cpu()) throw Error(call + ": MPI takes tensors in host memory");
  if (tensor.numel() > std::numeric_limits<int>::max())
    throw Error(call + ": MPI takes 2^31 − 1 numbers at most");
  return static_cast<int>(tensor.numel());
}

/// A request under way, with the tensors that it reads and writes.
class Request {
 public:
  Request(std::string call, std::chrono::seconds timeout, at::Tensor from, at::Tensor to)
      : call_(std::move(call)), timeout_(timeout), from_(std::move(from)), to_(std::move(to)) {}

  /// MPI may still write into these tensors, so they must stay alive: a rank that fails leaves its
  /// requests behind.
  ~Request() {
    if (request_ == MPI_REQUEST_NULL) return;
    from_.unsafeReleaseTensorImpl();
    to_.unsafeReleaseTensorImpl();
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  MPI_Request* get() { return &request_; }

  bool test() {
    int done = 0;
    check(MPI_Test(&request_, &done, MPI_STATUS_IGNORE), call_);
    return done != 0;
  }

  /// MPI's own wait would spin the whole time, and keep a core from the rank that is awaited.
  void wait() {
    constexpr int kSpins = 200;
    constexpr std::chrono::microseconds kPause{50};
    const auto start = Clock::now();
    for (int turn = 0; !test(); ++turn) {
      if (turn < kSpins) {
        std::this_thread::yield();
        continue;
      }
      if (Clock::now() - start > timeout_) {
        throw Error(call_ + " was not joined by all ranks within " +
                    std::to_string(timeout_.count()) +
                    " s: one of them is stuck, or much slower (train.timeout)");
      }
      std::this_thread::sleep_for(kPause);
    }
  }

 private:
  std::string call_;
  std::chrono::seconds timeout_;
  at::Tensor from_, to_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, int rank, int world, std::chrono::seconds timeout)
      : Communicator(rank, world), comm_(comm), timeout_(timeout) {}
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() > exceptions_) return;
    MPI_Comm_free(&comm_);
    MPI_Finalize();
  }

 private:
  std::string named(const std::string& call) const {
    return "rank " + std::to_string(rank()) + ": " + call;
  }
  /// Calls start(request) and returns the Pending that completes it.
  template <class Start>
  Pending pending(const std::string& call, const at::Tensor& from, const at::Tensor& to,
                  const Start& start) {
    const auto request = std::make_shared<Request>(call, timeout_, from, to);
    check(start(request->get()), call);
    return Pending(
        to, [request] { request->wait(); }, [request] { request->test(); });
  }

  Pending start_all_gather(const at::Tensor& local, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(local, call);
    const MPI_Datatype type = moved_type(local.scalar_type(), call);
    auto sizes = local.sizes().vec();
    sizes.at(0) *= world();
    const at::Tensor all = at::empty(sizes, local.options());
    return pending(call, local, all, [&](MPI_Request* request) {
      return MPI_Iallgather(local.const_data_ptr(), count, type, all.mutable_data_ptr(), count,
                            type, comm_, request);
    });
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(full, call) / world();
    const MPI_Datatype type = summed_type(full.scalar_type(), call);
    auto sizes = full.sizes().vec();
    sizes.at(0) /= world();
    const at::Tensor part = at::empty(sizes, full.options());
    return pending(call, full, part, [&](MPI_Request* request) {
      return MPI_Ireduce_scatter_block(full.const_data_ptr(), part.mutable_data_ptr(), count, type,
                                       MPI_SUM, comm_, request);
    });
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(tensor, call);
    const MPI_Datatype type = summed_type(tensor.scalar_type(), call);
    return pending(call, tensor, tensor, [&](MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, tensor.mutable_data_ptr(), count, type, MPI_SUM, comm_,
                            request);
    });
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(tensor, call);
    const MPI_Datatype type = moved_type(tensor.scalar_type(), call);
    return pending(call, tensor, tensor, [&](MPI_Request* request) {
      return MPI_Ibcast(tensor.mutable_data_ptr(), count, type, 0, comm_, request);
    });
  }
  void do_barrier(const std::string& what) override {
    pending(named(what), {}, {}, [&](MPI_Request* request) {
      return MPI_Ibarrier(comm_, request);
    }).wait();
  }

  MPI_Comm comm_;
  std::chrono::seconds timeout_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(std::chrono::seconds timeout) {
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "start");
  MPI_Comm comm = MPI_COMM_NULL;
  check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "start");
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  int rank = 0, world = 1;
  check(MPI_Comm_rank(comm, &rank), "start");
  check(MPI_Comm_size(comm, &world), "start");
  return std::make_unique<MpiCommunicator>(comm, rank, world, timeout);
}

void end_mpi(int status) {
  if (mpi_runs()) MPI_Abort(MPI_COMM_WORLD, status);
}

}  // namespace pfc
