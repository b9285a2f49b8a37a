#pragma once

#include <filesystem>

namespace pfc {

/// Call it before long work: checks that the work can write its output at the end. Creates nothing.
/// Throws Error if the folder of `file` is missing or takes no files, if `file` is itself a folder,
/// or if it is a device or a pipe that may not be written to. An empty path means that no output
/// was asked for.
void require_writable(const std::filesystem::path& file);
/// The same, for a file that gets other files beside it. Throws Error also for a device, a pipe or
/// a descriptor, which have no place for them.
void require_regular(const std::filesystem::path& file);
/// The same, for files in a folder that exists or will be created with its parents. An empty path
/// is the current folder.
void require_writable_folder(const std::filesystem::path& folder);
/// Throws UsageError if both are the same file or folder, because writing would destroy the input.
void require_other(const std::filesystem::path& input, const std::filesystem::path& output);

}  // namespace pfc
