// Replaces libcudart.
#include <cuda_runtime_api.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulated_gpu.h"
#include "timeline.h"

namespace simulated_gpu {
namespace {

/// A number from the environment, by which a test chooses which GPUs there are.
std::size_t option(const char* name, std::size_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}
/// The numbers of the GPUs that this process can see.
const std::vector<int>& visible() {
  static const std::vector<int> numbers = [] {
    std::vector<int> found;
    if (const char* const list = std::getenv("CUDA_VISIBLE_DEVICES"); list != nullptr) {
      std::istringstream text(list);
      for (std::string number; std::getline(text, number, ',');) found.push_back(std::stoi(number));
    } else {
      found.resize(option("SIMULATED_GPUS", 1));
      std::iota(found.begin(), found.end(), 0);
    }
    return found;
  }();
  return numbers;
}
int gpus() {
  return static_cast<int>(visible().size());
}
std::size_t bytes_of_gpu() {
  return option("SIMULATED_GPU_BYTES", std::size_t{6} << 30);
}

thread_local int accesses = 0;  ///< see Access

/// The memory of all GPUs. A protection key of the processor keeps the host out of it (pkeys(7));
/// without such keys it is not protected. With SIMULATED_GPU_GUARDS=1 each allocation ends before a
/// page that may not be touched, and becomes such a page when it is freed: for programs whose
/// allocator caches nothing (PYTORCH_NO_CUDA_MEMORY_CACHING=1).
class DeviceMemory {
 public:
  static DeviceMemory& instance() {
    static DeviceMemory memory;
    return memory;
  }

  bool holds(const void* at) const { return at >= begin_ && at < begin_ + kReserved; }
  void open() const {
    if (key_ >= 0) ::pkey_set(key_, 0);
  }
  void close() const {
    if (key_ >= 0) ::pkey_set(key_, PKEY_DISABLE_ACCESS);
  }

  cudaError_t take(void** to, std::size_t bytes) {
    constexpr std::size_t kVector = 16,
                          kMultiple = 512;  // kernels load this much at once; CUDA has the same
    const std::size_t size = rounded(bytes, guards_ ? kVector : kMultiple);
    const std::lock_guard lock(mutex_);
    *to = nullptr;
    if (in_use_ + size > bytes_of_gpu()) return cudaErrorMemoryAllocation;
    if (const auto freed = free_.find(size); freed != free_.end()) {
      *to = freed->second;
      free_.erase(freed);
    } else if (guards_) {
      const std::size_t pages = rounded(size, kPage);
      *to = begin_ + used_ + pages - size;
      used_ += pages;
      forbid(begin_ + used_, kPage);
      used_ += kPage;
    } else {
      *to = begin_ + used_;
      used_ += size;
    }
    if (used_ > kReserved) std::abort();
    taken_[*to] = size;
    in_use_ += size;
    const Access access;
    std::memset(*to, 0xff, size);  // NaN in every type
    return cudaSuccess;
  }
  cudaError_t give_back(void* at) {
    if (at == nullptr) return cudaSuccess;
    const std::lock_guard lock(mutex_);
    const auto found = taken_.find(at);
    if (found == taken_.end()) return cudaErrorInvalidValue;
    in_use_ -= found->second;
    if (guards_) {
      const std::size_t pages = rounded(found->second, kPage);
      forbid(static_cast<char*>(at) + found->second - pages, pages);
    } else {
      free_.emplace(found->second, at);
    }
    taken_.erase(found);
    return cudaSuccess;
  }
  std::size_t in_use() const { return in_use_; }

 private:
  /// Addresses, of which guards use none twice.
  static constexpr std::size_t kReserved = std::size_t{1} << 40, kPage = 4096;

  static std::size_t rounded(std::size_t bytes, std::size_t multiple) {
    return (bytes + multiple - 1) / multiple * multiple;
  }
  static void forbid(char* page, std::size_t bytes) {
    if (::madvise(page, bytes, MADV_DONTNEED) != 0 || ::mprotect(page, bytes, PROT_NONE) != 0)
      std::abort();
  }

  DeviceMemory() {
    void* const at = ::mmap(nullptr, kReserved, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    begin_ = static_cast<char*>(at);
    key_ = ::pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (key_ >= 0 && ::pkey_mprotect(at, kReserved, PROT_READ | PROT_WRITE, key_) != 0)
      std::abort();
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSEGV, &action, nullptr);
  }

  static void on_fault(int, siginfo_t* info, void*) {
    const char* const what = !instance().holds(info->si_addr) ? "no memory was touched"
                             : accesses > 0                   ? "memory was touched that nobody has"
                                                              : "the host touched the GPU's memory";
    std::fprintf(stderr, "simulated GPU: %s, at %p\n", what, info->si_addr);
    std::array<void*, 60> frames{};
    ::backtrace_symbols_fd(frames.data(), ::backtrace(frames.data(), frames.size()), 2);
    ::_exit(139);
  }

  char* begin_ = nullptr;
  int key_ = -1;
  bool guards_ = option("SIMULATED_GPU_GUARDS", 0) != 0;
  std::mutex mutex_;
  std::size_t used_ = 0;
  std::atomic<std::size_t> in_use_ = 0;
  std::map<void*, std::size_t> taken_;
  std::multimap<std::size_t, void*> free_;
};

/// The work of the streams while one of them records a graph; it is launched on that stream.
struct Graph {
  Timeline streams = {};
  cudaStream_t origin = nullptr;
};

/// A point in a stream.
struct Event {
  const Timeline* of = nullptr;
  cudaStream_t stream = nullptr;
  std::size_t count = 0;
  int device = 0;
};
Event& at(cudaEvent_t event) {
  return *reinterpret_cast<Event*>(event);
}

std::recursive_mutex mutex;
Timeline streams;
thread_local int current_device = 0;
thread_local bool at_work = false;  ///< work that is submitted now is part of the running work
thread_local Graph* recording = nullptr;  ///< begun by this thread
std::vector<Graph*> recordings;           ///< of all threads

/// The graph that work on this stream becomes a part of, or null. A backward pass puts its work on
/// the stream from a thread of its own.
Graph* recording_of(cudaStream_t stream) {
  for (Graph* const graph : recordings) {
    if (stream == graph->origin || graph->streams.count(stream) > 0) return graph;
  }
  return nullptr;
}

cudaError_t make(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(new Event{.device = current_device});
  return cudaSuccess;
}

std::string_view late() {
  static const char* const set = std::getenv("SIMULATED_GPU_LATE");
  return set == nullptr ? "" : set;
}
std::mt19937 random_numbers(1);

/// What streams do by themselves after something was put on this one.
void get_on_by_themselves(cudaStream_t stream) {
  if (late() == "all" || (late() == "default" && stream == nullptr)) return;
  if (late() != "random") return streams.advance(stream);
  while (random_numbers() % 2 == 0) streams.advance_some(random_numbers);
}

/// Lets streams work until body()'s request is done.
template <class Body>
void get_on(const Body& body) {
  const std::lock_guard lock(mutex);
  const Access access;
  const struct AtWork {
    bool before = std::exchange(at_work, true);
    ~AtWork() { at_work = before; }
  } restored;
  body();
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  submit(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaStreamCaptureStatus capture_status(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  return recording_of(stream) == nullptr ? cudaStreamCaptureStatusNone
                                         : cudaStreamCaptureStatusActive;
}

}  // namespace

Access::Access() {
  if (accesses++ == 0) DeviceMemory::instance().open();
}
Access::~Access() {
  if (--accesses == 0) DeviceMemory::instance().close();
}

void submit(cudaStream_t stream, std::function<void()> work) {
  if (at_work) return work();
  const std::lock_guard lock(mutex);
  if (Graph* const graph = recording_of(stream); graph != nullptr)
    return graph->streams.put(stream, std::move(work));
  if (recording != nullptr) {
    std::fprintf(stderr, "simulated GPU: a graph is recorded, and work is put on another stream\n");
    std::abort();
  }
  streams.put(stream, std::move(work));
  get_on([&] { get_on_by_themselves(stream); });
}
void finish(cudaStream_t stream) {
  if (at_work) return;
  get_on([&] { streams.advance(stream); });
}
bool is_recording(cudaStream_t stream) {
  if (at_work) return false;
  const std::lock_guard lock(mutex);
  return recording_of(stream) != nullptr;
}
void do_now(const std::function<void()>& work) {
  get_on([&] {
    streams.advance_all();
    work();
  });
}
bool is_device_memory(const void* at) {
  return DeviceMemory::instance().holds(at);
}

}  // namespace simulated_gpu

using namespace simulated_gpu;

// Functions that are missing here are never called, but LibTorch's allocator could be configured to
// call them.
extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = gpus();
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= gpus()) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  std::memset(properties, 0, sizeof(*properties));
  properties->uuid.bytes[0] = static_cast<char>(visible()[static_cast<std::size_t>(device)] + 1);
  std::strcpy(properties->name, "simulated GPU");
  properties->major = static_cast<int>(option("SIMULATED_GPU_MAJOR", 9));
  properties->totalGlobalMem = bytes_of_gpu();
  properties->multiProcessorCount = 100;
  properties->warpSize = 32;
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, current_device);
  *attributes = {};
  attributes->ptxVersion = 10 * properties.major;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  get_on([] { streams.advance_all(); });
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = nullptr;
  if (result != nullptr) *result = cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t) {
  return "an error";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "an error of the simulated GPU";
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** to, size_t bytes) {
  return DeviceMemory::instance().take(to, bytes);
}
cudaError_t cudaFree(void* at) {
  cudaDeviceSynchronize();
  return DeviceMemory::instance().give_back(at);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = bytes_of_gpu();
  *free = *total - DeviceMemory::instance().in_use();
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void*, size_t, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void*) {
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  copy(to, from, bytes, nullptr);
  return cudaStreamSynchronize(nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes,
                                cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = reinterpret_cast<cudaStream_t>(new char);
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  return streams.is_done(stream, streams.count(stream)) ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (is_recording(stream)) return cudaErrorStreamCaptureUnsupported;
  finish(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(mutex);
  if (at(event).of == nullptr) return cudaSuccess;  // it was never recorded
  Graph* graph = recording_of(stream);
  for (Graph* const other : recordings) {
    if (at(event).of == &other->streams) graph = other;  // the stream joins the graph
  }
  Timeline& here = graph != nullptr ? graph->streams : streams;
  if (at(event).of != &here) return cudaErrorStreamCaptureIsolation;
  here.put_wait(stream, at(event).stream, at(event).count);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return make(event);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return make(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete &at(event);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(mutex);
  const Event& there = at(event);
  if (there.of != nullptr && there.of != &streams) {
    std::fprintf(stderr, "simulated GPU: an event of a graph is asked whether it is over\n");
    std::abort();
  }
  if (there.device != current_device) {
    std::fprintf(
        stderr,
        "simulated GPU: a thread that works on another GPU asks for an event, for which it "
        "would take memory there\n");
    std::abort();
  }
  const bool over = there.of == nullptr || streams.is_done(there.stream, there.count);
  return over ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(mutex);
  Graph* const graph = recording_of(stream);
  Timeline& here = graph != nullptr ? graph->streams : streams;
  at(event) = {&here, stream, here.count(stream), at(event).device};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Event& there = at(event);
  if (there.of != nullptr && there.of != &streams) return cudaErrorCapturedEvent;
  if (there.of == &streams) get_on([&] { streams.advance(there.stream, there.count); });
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) {
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = capture_status(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long*, cudaGraph_t*, const cudaGraphNode_t**,
                                     const cudaGraphEdgeData**, size_t*) {
  *status = capture_status(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const std::lock_guard lock(mutex);
  recording = new Graph{.origin = stream};
  recordings.push_back(recording);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  const std::lock_guard lock(mutex);
  *graph = reinterpret_cast<cudaGraph_t>(recording);
  std::erase(recordings, recording);
  recording = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* recorded, cudaGraph_t graph, unsigned long long) {
  *recorded = reinterpret_cast<cudaGraphExec_t>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t) {
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t recorded) {
  delete reinterpret_cast<Graph*>(recorded);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t recorded, cudaStream_t stream) {
  submit(stream, [graph = *reinterpret_cast<Graph*>(recorded)]() mutable {
    const std::size_t all = graph.streams.count(graph.origin);
    while (late() == "random" && !graph.streams.is_done(graph.origin, all))
      graph.streams.advance_some(random_numbers);
    graph.streams.advance(graph.origin);
  });
  return cudaSuccess;
}

}  // extern "C"
