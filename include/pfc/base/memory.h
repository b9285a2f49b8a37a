#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace pfc {

/// From here on this process keeps the memory it frees, for use again, where malloc would hand
/// large blocks back to the system at once: every activation of every step would then be paged in
/// and zeroed anew. Call it first thing in a program that trains.
void keep_freed_memory();

/// What a process could still take on this machine without it swapping, in bytes: what the system
/// says, or what is left of a smaller limit that the process's control group sets (containers,
/// batch systems). The largest number where nothing tells. `root` is where the system's files lie.
std::int64_t available_memory(const std::filesystem::path& root = "/");

/// The most memory that this process has had resident at once since it began, or since the call
/// below; in bytes, 0 where the system does not tell.
std::int64_t peak_memory();
/// From here on the peak is counted anew, of what follows: memory that was freed and kept is given
/// back.
void reset_peak_memory();

/// A sentence on what LibTorch throws where a GPU's memory runs out: what was asked for, what is
/// free, and what to do.
std::string out_of_gpu_memory(const std::string& thrown, std::string_view advice);

}  // namespace pfc
