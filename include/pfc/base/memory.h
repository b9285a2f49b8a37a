#pragma once

#include <cstdint>

namespace pfc {

/// From here on this process keeps the memory it frees, for use again, where malloc would hand
/// large blocks back to the system at once: every activation of every step would then be paged in
/// and zeroed anew. Call it first thing in a program that trains.
void keep_freed_memory();

/// The most memory that this process has had resident at once since it began, or since the call
/// below; in bytes, 0 where the system does not tell.
std::int64_t peak_memory();
/// From here on the peak is counted anew.
void reset_peak_memory();

}  // namespace pfc
