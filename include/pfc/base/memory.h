#pragma once

namespace pfc {

/// From here on this process keeps the memory it frees, for use again, where malloc would hand
/// large blocks back to the system at once: every activation of every step would then be paged in
/// and zeroed anew. Call it first thing in a program that trains.
void keep_freed_memory();

}  // namespace pfc
