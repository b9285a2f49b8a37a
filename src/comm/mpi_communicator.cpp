#include "comm/mpi_communicator.h"

#include <ATen/Functions.h>
#include <dlfcn.h>

#include <exception>
#include <limits>
#include <string>
#include <thread>

#include "comm/mpi_module.h"
#include "pfc/base/error.h"

namespace pfc {
namespace {

using Clock = std::chrono::steady_clock;

const MpiModule* g_module = nullptr;

/// The module is looked for in lib beside the program's folder, and where the system looks. It is
/// not there if pfc was built without MPI.
const MpiModule* load_module() {
  constexpr const char* kFile = "libpfc_mpi.so";
  // Open MPI's own modules look for its symbols among those of the whole program.
  void* const library = ::dlopen(kFile, RTLD_NOW | RTLD_GLOBAL);
  void* const function = library == nullptr ? nullptr : ::dlsym(library, kMpiModuleFunction);
  if (function == nullptr) {
    const std::string reason = ::dlerror();
    // It names the file that is missing: the module itself, or the MPI that the module needs.
    if (reason.starts_with(std::string(kFile) + ": cannot open"))
      throw Error(
          std::string(
              "mpirun has started this rank, and this pfc was built without MPI: there is no ") +
          kFile + " (start the ranks with torchrun, or build pfc where MPI is installed)");
    throw Error("mpirun has started this rank, and MPI cannot be loaded: " + reason +
                " (install the MPI that this pfc was built with, and use its mpirun; or start the "
                "ranks with torchrun)");
  }
  return reinterpret_cast<MpiModuleFunction*>(function)();
}

void check(const char* failure, const std::string& call) {
  if (failure != nullptr) throw Error(call + ": MPI: " + failure);
}

/// The type for numbers that are only moved. MPI has no bfloat16.
MpiModule::Type moved_type(at::ScalarType type, const std::string& call) {
  switch (at::elementSize(type)) {
    case 1:
      return MpiModule::kUint8;
    case 2:
      return MpiModule::kUint16;
    case 4:
      return MpiModule::kUint32;
    case 8:
      return MpiModule::kUint64;
    default:
      throw Error(call + ": MPI cannot carry this type");
  }
}

/// The type for numbers that are summed.
MpiModule::Type summed_type(at::ScalarType type, const std::string& call) {
  switch (type) {
    case at::kFloat:
      return MpiModule::kFloat;
    case at::kDouble:
      return MpiModule::kDouble;
    case at::kLong:
      return MpiModule::kInt64;
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
    if (request_ == nullptr) return;
    from_.unsafeReleaseTensorImpl();
    to_.unsafeReleaseTensorImpl();
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  MpiRequest** get() { return &request_; }

  bool test() {
    if (request_ != nullptr) check(g_module->test(&request_), call_);
    return request_ == nullptr;
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
  MpiRequest* request_ = nullptr;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(int rank, int world, std::chrono::seconds timeout)
      : Communicator(rank, world), timeout_(timeout) {}
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() <= exceptions_) g_module->finish();
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
    const MpiModule::Type type = moved_type(local.scalar_type(), call);
    auto sizes = local.sizes().vec();
    sizes.at(0) *= world();
    const at::Tensor all = at::empty(sizes, local.options());
    return pending(call, local, all, [&](MpiRequest** request) {
      return g_module->all_gather(local.const_data_ptr(), all.mutable_data_ptr(), count, type,
                                  request);
    });
  }
  Pending start_reduce_scatter(const at::Tensor& full, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(full, call) / world();
    const MpiModule::Type type = summed_type(full.scalar_type(), call);
    auto sizes = full.sizes().vec();
    sizes.at(0) /= world();
    const at::Tensor part = at::empty(sizes, full.options());
    return pending(call, full, part, [&](MpiRequest** request) {
      return g_module->reduce_scatter(full.const_data_ptr(), part.mutable_data_ptr(), count, type,
                                      request);
    });
  }
  Pending start_all_reduce(at::Tensor& tensor, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(tensor, call);
    const MpiModule::Type type = summed_type(tensor.scalar_type(), call);
    return pending(call, tensor, tensor, [&](MpiRequest** request) {
      return g_module->all_reduce(tensor.mutable_data_ptr(), count, type, request);
    });
  }
  Pending start_broadcast(at::Tensor& tensor, const std::string& what) override {
    const std::string call = named(what);
    const int count = count_of(tensor, call);
    const MpiModule::Type type = moved_type(tensor.scalar_type(), call);
    return pending(call, tensor, tensor, [&](MpiRequest** request) {
      return g_module->broadcast(tensor.mutable_data_ptr(), count, type, request);
    });
  }
  void do_barrier(const std::string& what) override {
    pending(named(what), {}, {}, [&](MpiRequest** request) {
      return g_module->barrier(request);
    }).wait();
  }

  std::chrono::seconds timeout_;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(std::chrono::seconds timeout) {
  g_module = load_module();
  int rank = 0, world = 1;
  check(g_module->start(&rank, &world), "start");
  return std::make_unique<MpiCommunicator>(rank, world, timeout);
}

void end_mpi(int status) {
  if (g_module != nullptr) g_module->end_all(status);
}

}  // namespace pfc
