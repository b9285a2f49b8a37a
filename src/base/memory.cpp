#include "pfc/base/memory.h"

#include <malloc.h>

namespace pfc {

void keep_freed_memory() {
#ifdef __GLIBC__
  // Measured on `tiny`, batch 128, two cores: 24% more images/s for 6% more memory.
  mallopt(M_MMAP_MAX, 0);                // large blocks come from the heap …
  mallopt(M_TRIM_THRESHOLD, -1);         // … which never shrinks …
  mallopt(M_TOP_PAD, 64 * 1024 * 1024);  // … and grows in few steps
#endif
}

}  // namespace pfc
