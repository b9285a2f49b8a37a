#include "head/table_memory.h"

#include <sys/mman.h>

#include "head/gpu_table.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/head/center_table.h"

namespace pfc {

bool lies_on_gpu(const CenterTableOptions& options) {
  return options.device.is_cuda() && !options.in_host_memory;
}

TableMemory::TableMemory(std::int64_t bytes, const CenterTableOptions& options) : bytes_(bytes) {
  if (lies_on_gpu(options)) {
    on_gpu_ = reserve_on_gpu(bytes, options.device);
    return;
  }
  // In huge pages where the system offers them: a step touches rows all over the table, and with
  // small pages each row would cost a walk of the page table.
  if (bytes == 0) return;
  const auto size = static_cast<std::size_t>(bytes);
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    throw Error("cannot reserve " + counted(bytes, "byte") +
                " for the class centres; use more ranks");
  }
  ::madvise(address, size, MADV_HUGEPAGE);  // advice: small ones serve
  const std::shared_ptr<std::byte> begin(static_cast<std::byte*>(address),
                                         [size](std::byte* mapped) { ::munmap(mapped, size); });
  on_host_ = std::make_shared<const OnHost>(
      OnHost{begin, options.device.is_cuda() ? pin_for_gpus(begin.get(), bytes) : nullptr});
}

at::Tensor TableMemory::take(at::IntArrayRef shape, at::ScalarType type) {
  const auto size =
      static_cast<std::int64_t>(c10::multiply_integers(shape) * c10::elementSize(type));
  const std::int64_t begin = taken_;
  taken_ += size;
  if (on_gpu_.defined()) return on_gpu_.narrow(0, begin, size).view(type).view(shape);
  return at::from_blob(
      on_host_->begin.get() + begin, shape, [owner = on_host_](void*) {}, type);
}

}  // namespace pfc
