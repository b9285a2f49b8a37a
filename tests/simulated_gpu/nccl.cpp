// Replaces libnccl: ranks of one machine meet in shared memory.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "simulated_gpu.h"

namespace {

constexpr std::size_t kPage = 4096,
                      kPart = std::size_t{1} << 28;  // the most that a rank may send at once

struct Meeting {
  std::atomic<int> arrived, number;
};

}  // namespace

struct ncclComm {
  int rank = 0, world = 1;
  std::atomic<bool> aborted = false;
  char* shared = nullptr;

  char* part(int of) const { return shared + kPage + static_cast<std::size_t>(of) * kPart; }

  void meet() const {
    auto* const meeting = reinterpret_cast<Meeting*>(shared);
    const int number = meeting->number;
    if (++meeting->arrived == world) {
      meeting->arrived = 0;
      ++meeting->number;
    }
    while (meeting->number == number) std::this_thread::yield();
  }

  /// Each rank sends its bytes; when all of them are there, take() makes the result.
  template <class Take>
  ncclResult_t share(const void* from, void* to, std::size_t bytes, cudaStream_t stream,
                     const Take& take) {
    if (!simulated_gpu::is_device_memory(from) || !simulated_gpu::is_device_memory(to) ||
        bytes > kPart)
      return ncclInvalidArgument;
    simulated_gpu::submit(stream, [this, from, bytes, take] {
      std::memcpy(part(rank), from, bytes);
      meet();
      take();
      meet();
    });
    return ncclSuccess;
  }

  template <class T>
  void sum(void* to, std::size_t first, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      auto all = static_cast<std::conditional_t<sizeof(T) == 2, float, T>>(0);
      for (int of = 0; of < world; ++of) {
        T one;
        std::memcpy(&one, part(of) + (first + i) * sizeof(T), sizeof(T));
        all += static_cast<decltype(all)>(one);
      }
      static_cast<T*>(to)[i] = static_cast<T>(all);
    }
  }
  void sum(void* to, std::size_t first, std::size_t count, ncclDataType_t type) const {
    switch (type) {
      case ncclFloat32:
        return sum<float>(to, first, count);
      case ncclFloat64:
        return sum<double>(to, first, count);
      case ncclFloat16:
        return sum<__half>(to, first, count);
      case ncclBfloat16:
        return sum<__nv_bfloat16>(to, first, count);
      case ncclInt32:
        return sum<std::int32_t>(to, first, count);
      case ncclInt64:
        return sum<std::int64_t>(to, first, count);
      case ncclUint8:
        return sum<std::uint8_t>(to, first, count);
      default:
        std::abort();
    }
  }
};

namespace {

std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclFloat64:
    case ncclInt64:
      return 8;
    default:
      return 4;
  }
}

}  // namespace

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  constexpr std::size_t kMostRanks = 8;
  std::memset(id, 0, sizeof(*id));
  std::snprintf(id->internal, sizeof(id->internal), "/simulated-nccl-%d", ::getpid());
  const int file = ::shm_open(id->internal, O_CREAT | O_EXCL | O_RDWR, 0600);
  if (file < 0 || ::ftruncate(file, kPage + kMostRanks * kPart) != 0) return ncclSystemError;
  ::close(file);
  return ncclSuccess;
}
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int world, ncclUniqueId id, int rank) {
  const int file = ::shm_open(id.internal, O_RDWR, 0600);
  if (file < 0) return ncclSystemError;
  void* const at = ::mmap(nullptr, kPage + static_cast<std::size_t>(world) * kPart,
                          PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (at == MAP_FAILED) return ncclSystemError;
  *comm = new ncclComm{.rank = rank, .world = world, .shared = static_cast<char*>(at)};
  (*comm)->meet();
  if (rank == 0) ::shm_unlink(id.internal);
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->aborted = true;  // its memory stays, so that its users can still be told
  return ncclSuccess;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  if (comm->aborted) {
    std::fprintf(stderr, "simulated NCCL: a communicator is used that was aborted\n");
    std::abort();
  }
  *error = ncclSuccess;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t) {
  return "not memory of the simulated GPU, or too much of it";
}

ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  const std::size_t bytes = count * size_of(type);
  return comm->share(from, to, bytes, stream, [=] {
    for (int of = 0; of < comm->world; ++of)
      std::memcpy(static_cast<char*>(to) + static_cast<std::size_t>(of) * bytes, comm->part(of),
                  bytes);
  });
}
ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  return comm->share(from, to, count * size_of(type), stream,
                     [=] { comm->sum(to, 0, count, type); });
}
ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t, ncclComm_t comm, cudaStream_t stream) {
  const auto rank = static_cast<std::size_t>(comm->rank);
  const std::size_t bytes = static_cast<std::size_t>(comm->world) * count * size_of(type);
  return comm->share(from, to, bytes, stream, [=] { comm->sum(to, rank * count, count, type); });
}
ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  const std::size_t bytes = count * size_of(type);
  return comm->share(from, to, bytes, stream, [=] { std::memcpy(to, comm->part(root), bytes); });
}

}  // extern "C"
