#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace pfc {

/// From now on this process keeps the memory it frees and uses it again. By default malloc returns
/// large blocks to the system at once, so every activation of every step would be paged in and
/// zeroed anew. Call it first in a program that trains.
void keep_freed_memory();

/// How many bytes this process could still take without making the machine swap: what the system
/// reports, or less if the process's control group (containers, batch systems) sets a smaller
/// limit. If nothing reports it, the largest number. `root` is where the system's files are.
std::int64_t available_memory(const std::filesystem::path& root = "/");

/// The most memory that this process has held at once since it started, or since
/// `reset_peak_memory`; in bytes. 0 if the system does not say.
std::int64_t peak_memory();
/// Starts the measurement of the peak again. Memory that was freed but kept is returned first.
void reset_peak_memory();

/// Turns LibTorch's error about a GPU without memory into one sentence: what was asked for, what is
/// free, and what to do.
std::string out_of_gpu_memory(const std::string& thrown, std::string_view advice);

}  // namespace pfc
