#pragma once

#include <filesystem>

namespace pfc {

/// For the start of work that takes long: whether what it writes at its end can be written. Makes
/// nothing. Throws Error where the folder of `file` is missing or takes no files, where `file` is
/// itself a folder, and where it is a device or a pipe that may not be written to. An empty path is
/// an output that nobody asked for.
void require_writable(const std::filesystem::path& file);
/// The same of files in a folder, which is there or will be made with those above it; an empty path
/// is the current folder.
void require_writable_folder(const std::filesystem::path& folder);

}  // namespace pfc
