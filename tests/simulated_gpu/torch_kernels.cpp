// Replaces libtorch_cuda: LibTorch's CUDA operators, implemented with those for the CPU.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/TensorShape.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "simulated_gpu.h"

namespace c10::cuda::_internal {
void setHasPrimaryContext(bool (*function)(DeviceIndex));  // in none of its headers
}

namespace {

using MaybeTensor = std::optional<at::Tensor>;

// ---- What LibTorch asks of its CUDA library

class PinnedMemory final : public at::HostAllocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    void* const at = std::malloc(bytes + 1);
    std::memset(at, 0xff, bytes);
    const std::lock_guard lock(mutex_);
    sizes_[static_cast<const char*>(at)] = bytes + 1;
    return {at, at, give_back, at::kCPU};
  }
  bool holds(const void* at) {
    const std::lock_guard lock(mutex_);
    const auto after = sizes_.upper_bound(static_cast<const char*>(at));
    if (after == sizes_.begin()) return false;
    const auto& [begin, size] = *std::prev(after);
    return at < begin + size;
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  /// The memory is free for others only when the stream has reached this point.
  bool record_event(void* at, void*, c10::Stream stream) override {
    const std::lock_guard lock(mutex_);
    used_by_[at].push_back(c10::cuda::CUDAStream(stream));
    return true;
  }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

 private:
  static void give_back(void* at);

  std::mutex mutex_;
  std::map<const char*, std::size_t> sizes_;
  std::map<void*, std::vector<c10::cuda::CUDAStream>> used_by_;
};

PinnedMemory pinned_memory;
REGISTER_HOST_ALLOCATOR(at::kCUDA, &pinned_memory)

void PinnedMemory::give_back(void* at) {
  std::size_t size = 0;
  std::vector<c10::cuda::CUDAStream> streams;
  {
    const std::lock_guard lock(pinned_memory.mutex_);
    size = pinned_memory.sizes_.extract(static_cast<const char*>(at)).mapped();
    if (auto used = pinned_memory.used_by_.extract(at)) streams = std::move(used.mapped());
  }
  const std::shared_ptr<void> memory(at, [size](void* data) {
    std::memset(data, 0xff, size);
    std::free(data);
  });
  for (const c10::cuda::CUDAStream& stream : streams) simulated_gpu::submit(stream, [memory] {});
}

[[maybe_unused]] const bool kHasContexts = [] {
  c10::cuda::_internal::setHasPrimaryContext([](c10::DeviceIndex) { return true; });
  return true;
}();

struct SimulatedHooks final : at::CUDAHooksInterface {
  explicit SimulatedHooks(at::CUDAHooksArgs) {}
  void init() const override { c10::cuda::CUDACachingAllocator::init(c10::cuda::device_count()); }
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  at::DeviceIndex current_device() const override { return c10::cuda::current_device(); }
  at::DeviceIndex getCurrentDevice() const override { return c10::cuda::current_device(); }
  at::DeviceIndex deviceCount() const override { return c10::cuda::device_count(); }
  int getNumGPUs() const override { return c10::cuda::device_count(); }
  const at::Generator& getDefaultGenerator(at::DeviceIndex) const override {
    static const at::Generator generator = at::detail::createCPUGenerator();
    return generator;
  }
  bool isPinnedPtr(const void* at) const override { return pinned_memory.holds(at); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_memory; }
  at::Allocator* getCUDADeviceAllocator() const override {
    return c10::cuda::CUDACachingAllocator::get();
  }
  void deviceSynchronize(at::DeviceIndex) const override { c10::cuda::device_synchronize(); }
};

// ---- Tensors of a GPU

c10::Allocator* device_memory() {
  at::globalContext().lazyInitDevice(at::kCUDA);
  return c10::cuda::CUDACachingAllocator::get();
}
constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::CUDA);

at::IntArrayRef plain(c10::SymIntArrayRef numbers) {
  return C10_AS_INTARRAYREF_SLOW(numbers);
}

at::Tensor empty(c10::SymIntArrayRef sizes, std::optional<at::ScalarType> type,
                 std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard there(device.value_or(at::Device(at::kCUDA, 0)));
  return at::detail::empty_generic(plain(sizes), device_memory(), kKeys, type.value_or(at::kFloat),
                                   format);
}
at::Tensor empty_strided(c10::SymIntArrayRef sizes, c10::SymIntArrayRef strides,
                         std::optional<at::ScalarType> type, std::optional<at::Layout>,
                         std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard there(device.value_or(at::Device(at::kCUDA, 0)));
  return at::detail::empty_strided_generic(plain(sizes), plain(strides), device_memory(), kKeys,
                                           type.value_or(at::kFloat));
}
at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef sizes,
                      c10::SymIntArrayRef strides, std::optional<c10::SymInt> offset) {
  std::optional<std::int64_t> begin;
  if (offset) begin = offset->expect_int();
  return at::native::as_strided_tensorimpl(self, plain(sizes), plain(strides), begin);
}
at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef sizes) {
  return at::native::view(self, plain(sizes));
}
at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef sizes,
                         c10::SymIntArrayRef strides) {
  return at::native::_reshape_alias(self, plain(sizes), plain(strides));
}
const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef sizes,
                         std::optional<at::MemoryFormat>) {
  if (self.sizes() == plain(sizes)) return self;
  const std::size_t bytes = at::detail::computeStorageNbytesContiguous(
      plain(sizes), self.element_size(), static_cast<std::size_t>(self.storage_offset()));
  TORCH_CHECK(bytes <= self.storage().nbytes() || self.numel() == 0,
              "a tensor of the simulated GPU grows");
  if (bytes > self.storage().nbytes()) {
    auto* const storage = self.storage().unsafeGetStorageImpl();
    storage->set_data_ptr_noswap(device_memory()->allocate(bytes));
    storage->set_nbytes(bytes);
  }
  self.unsafeGetTensorImpl()->set_sizes_contiguous(plain(sizes));
  return self;
}
void record_stream(at::Tensor&, at::Stream) {}

cudaStream_t current() {
  return c10::cuda::getCurrentCUDAStream().stream();
}
/// While this lives, the host may do work that comes after everything on the current stream.
struct Now {
  Now() { simulated_gpu::finish(current()); }
  simulated_gpu::Access access;
};

/// The same memory, as a host tensor.
at::Tensor on_host(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.is_cpu()) return tensor;
  return at::from_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(),
                       at::TensorOptions(at::kCPU).dtype(tensor.scalar_type()));
}
MaybeTensor on_host(const MaybeTensor& tensor) {
  return tensor ? MaybeTensor(on_host(*tensor)) : std::nullopt;
}

at::Tensor& copy(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  TORCH_CHECK(self.is_cpu() || source.is_cpu() || self.device() == source.device(),
              "a copy between GPUs");
  for (const at::Tensor& end : {self, source}) {
    TORCH_CHECK(end.is_cuda() || !simulated_gpu::is_recording(current()),
                "a graph copies from or to the host");
  }
  // Pinned memory is kept until it was copied; a GPU's memory may belong to somebody else by then.
  simulated_gpu::submit(current(), [to = on_host(self), from = on_host(source)] {
    const at::AutoDispatchBelowAutograd plainly;
    to.copy_(from);
  });
  const at::Tensor& host = self.is_cpu() ? self : source;
  if (host.is_cpu() && !(non_blocking && host.is_pinned())) simulated_gpu::finish(current());
  return self;
}
at::Tensor copy_from(const at::Tensor& self, const at::Tensor& to, bool non_blocking) {
  at::Tensor target = to;
  return copy(target, self, non_blocking);
}
at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& to) {
  to.resize_(self.sizes());
  const Now now;
  const at::AutoDispatchBelowAutograd plainly;
  return on_host(to).copy_(on_host(self));
}
at::Scalar item(const at::Tensor& self) {
  TORCH_CHECK(!simulated_gpu::is_recording(current()),
              "a graph is recorded, and the host reads a number");
  const Now now;
  return at::_local_scalar_dense(on_host(self));
}

// ---- Operators that differ on CPUs

/// GEMMs of half precision with float32 results, which only GPUs have; of matrices or lists of
/// them.
at::Tensor& add_product(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b,
                        at::ScalarType type, const at::Scalar& beta, const at::Scalar& alpha,
                        at::Tensor& out) {
  TORCH_CHECK(type == at::kFloat && a.scalar_type() == b.scalar_type() && a.element_size() == 2 &&
                  a.is_cuda() && b.is_cuda() && out.is_cuda(),
              "a product of ", a.scalar_type(), " and ", b.scalar_type(), " into ", type);
  simulated_gpu::submit(
      current(), [=, sum = on_host(out), self = on_host(self), a = on_host(a), b = on_host(b)] {
        const at::AutoDispatchBelowAutograd plainly;
        const at::Tensor of_a = a.to(type), of_b = b.to(type);
        sum.copy_(a.dim() == 2 ? at::addmm(self, of_a, of_b, beta, alpha)
                               : at::baddbmm(self, of_a, of_b, beta, alpha));
      });
  return out;
}
at::Tensor& product(const at::Tensor& a, const at::Tensor& b, at::ScalarType type,
                    at::Tensor& out) {
  return add_product(out, a, b, type, 0, 1, out);
}
/// Its schema does not say that it changes the running statistics.
std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm(
    const at::Tensor& x, const MaybeTensor& weight, const MaybeTensor& bias,
    const MaybeTensor& mean, const MaybeTensor& variance, bool training, double momentum,
    double epsilon) {
  TORCH_CHECK(!simulated_gpu::is_recording(current()), "a graph has a plain batch normalisation");
  const Now now;
  const at::AutoDispatchBelowAutograd plainly;
  const auto [y, of_batch, deviation] =
      at::native_batch_norm(on_host(x), on_host(weight), on_host(bias), on_host(mean),
                            on_host(variance), training, momentum, epsilon);
  return {y.to(x.device()), of_batch.to(x.device()), deviation.to(x.device())};
}
/// The kind of attention that the CPU has too.
std::int64_t attention_way(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                           const MaybeTensor&, double, bool, std::optional<double>, bool) {
  constexpr std::int64_t kMath = 0;
  return kMath;
}

// ---- All other operators: on the CPU, with their arguments brought there and back

void require_one_gpu(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  static const std::set<std::string> kMixed = {"aten::index", "aten::index_put_",
                                               "aten::_index_put_impl_"};
  if (kMixed.contains(op.operator_name().name)) return;
  std::optional<at::Device> first;
  const auto see = [&](const at::Tensor& tensor) {
    if (!tensor.defined() || (tensor.is_cpu() && tensor.dim() == 0)) return;
    TORCH_CHECK(tensor.is_cuda(), op.operator_name(), " takes a tensor of the host's, ",
                tensor.sizes());
    TORCH_CHECK(first.value_or(tensor.device()) == tensor.device(), op.operator_name(),
                " takes tensors of two GPUs");
    first = tensor.device();
  };
  for (const c10::IValue& value : torch::jit::last(stack, op.schema().arguments().size())) {
    if (value.isTensor()) see(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& tensor : value.toTensorVector()) see(tensor);
  }
}

/// Which argument a result is, or −1.
int argument_of(const c10::FunctionSchema& schema, const c10::Argument& result) {
  const auto& arguments = schema.arguments();
  const auto found = std::ranges::find_if(arguments, [&](const c10::Argument& argument) {
    return result.alias_info() && argument.alias_info() &&
           *argument.alias_info() == *result.alias_info();
  });
  return found == arguments.end() ? -1 : static_cast<int>(found - arguments.begin());
}

/// The value with every tensor as f gives it.
template <class F>
c10::IValue with_tensors(const c10::IValue& value, const F& f) {
  if (value.isTensor()) return f(value.toTensor());
  if (!value.isTensorList()) return value;
  c10::List<at::Tensor> list;
  for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(f(tensor));
  return list;
}

/// The same, without sharing ownership of a GPU's memory.
c10::IValue borrowed(const c10::IValue& value) {
  return with_tensors(value, [](const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.is_cpu()) return tensor;
    return at::for_blob(const_cast<void*>(tensor.const_data_ptr()), tensor.sizes())
        .strides(tensor.strides())
        .options(tensor.options().requires_grad(false))
        .target_device(tensor.device())
        .make_tensor();
  });
}

/// Whether the operator allocates tensors, or resizes an empty one to its result.
bool makes_memory(const c10::FunctionSchema& schema, const torch::jit::Stack& stack) {
  const auto taken = torch::jit::last(stack, schema.arguments().size());
  return std::ranges::any_of(schema.returns(), [&](const c10::Argument& result) {
    const int i = argument_of(schema, result);
    if (i < 0) return true;
    const c10::IValue& value = taken[static_cast<std::size_t>(i)];
    return value.isTensor() && value.toTensor().numel() == 0;
  });
}

/// Results have their places in a graph, and each launch fills them. Their sizes are found by doing
/// the work now, in host memory: a place may be one that earlier work of the graph still reads.
void record_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const torch::jit::Stack taken = torch::jit::pop(*stack, op.schema().arguments().size());
  at::Device gpu(at::kCUDA);
  torch::jit::Stack lent, trial;
  for (const c10::IValue& value : taken) {
    lent.push_back(borrowed(value));
    trial.push_back(with_tensors(value, [&](const at::Tensor& tensor) {
      if (tensor.defined() && tensor.is_cuda()) gpu = tensor.device();
      return on_host(tensor);
    }));
  }
  simulated_gpu::do_now([&] {
    const at::AutoDispatchBelowAutograd plainly;
    op.callBoxed(&trial);
  });
  torch::jit::Stack results;
  for (const c10::IValue& value : trial) {
    const c10::IValue place = with_tensors(value, [&](const at::Tensor& tensor) {
      return tensor.defined()
                 ? at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(gpu))
                 : tensor;
    });
    stack->push_back(place);
    results.push_back(borrowed(place));
  }
  simulated_gpu::submit(current(), [op, lent, results] {
    const at::AutoDispatchBelowAutograd plainly;
    torch::jit::Stack again = lent;
    at::native::cpu_fallback(op, &again);
    for (std::size_t i = 0; i < results.size(); ++i) {
      c10::List<at::Tensor> made;
      with_tensors(again[i], [&](const at::Tensor& tensor) {
        made.push_back(tensor);
        return tensor;
      });
      std::size_t next = 0;
      with_tensors(results[i], [&](const at::Tensor& place) {
        if (place.defined()) on_host(place).copy_(on_host(made.get(next)));
        ++next;
        return place;
      });
    }
  });
}

void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  require_one_gpu(op, *stack);
  const auto& schema = op.schema();
  if (makes_memory(schema, *stack)) {
    if (simulated_gpu::is_recording(current())) return record_on_cpu(op, stack);
    const Now now;
    return at::native::cpu_fallback(op, stack);
  }
  const torch::jit::Stack taken = torch::jit::pop(*stack, schema.arguments().size());
  torch::jit::Stack lent;
  for (const c10::IValue& value : taken) lent.push_back(borrowed(value));
  simulated_gpu::submit(current(), [op, lent] {
    const at::AutoDispatchBelowAutograd plainly;
    torch::jit::Stack again = lent;
    at::native::cpu_fallback(op, &again);
  });
  for (const c10::Argument& result : schema.returns())
    stack->push_back(taken[static_cast<std::size_t>(argument_of(schema, result))]);
}

}  // namespace

namespace at {
using CUDAHooks = SimulatedHooks;  // the name by which it is looked up
REGISTER_CUDA_HOOKS(CUDAHooks)
}  // namespace at

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(as_strided));
  m.impl("view", TORCH_FN(view));
  m.impl("_reshape_alias", TORCH_FN(reshape_alias));
  m.impl("resize_", TORCH_FN(resize));
  m.impl("record_stream", TORCH_FN(record_stream));
  m.impl("copy_", TORCH_FN(copy));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  m.impl("_local_scalar_dense", TORCH_FN(item));
  m.impl("mm.dtype_out", TORCH_FN(product));
  m.impl("baddbmm.dtype_out", TORCH_FN(add_product));
  m.impl("native_batch_norm", TORCH_FN(batch_norm));
  // As a whole: what LibTorch makes of them without cuDNN, or for a device that has no kernel,
  // forgets channels_last or is a batch normalisation.
  m.impl("native_layer_norm", torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
  m.impl("native_layer_norm_backward", torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
  m.impl("convolution", torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
  m.impl("convolution_backward", torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
  m.impl("_fused_sdp_choice", TORCH_FN(attention_way));
}
