#include "pfc/base/memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

namespace pfc {

void keep_freed_memory() {
#ifdef __GLIBC__
  // Measured on `tiny`, batch 128, two cores: 24% more images/s for 6% more memory.
  mallopt(M_MMAP_MAX, 0);                // large blocks come from the heap …
  mallopt(M_TRIM_THRESHOLD, -1);         // … which never shrinks …
  mallopt(M_TOP_PAD, 64 * 1024 * 1024);  // … and grows in few steps
#endif
}

std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

void reset_peak_memory() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): sets the peak to what is resident now
}

}  // namespace pfc
