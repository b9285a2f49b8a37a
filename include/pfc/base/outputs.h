#pragma once

#include <filesystem>
#include <initializer_list>
#include <string_view>

namespace pfc {

/// For the start of work that takes long: whether what it writes at its end can be written. Makes
/// nothing. Throws Error where the folder of `file` is missing or takes no files, where `file` is
/// itself a folder, and where it is a device or a pipe that may not be written to. An empty path is
/// an output that nobody asked for.
void require_writable(const std::filesystem::path& file);
/// The same of a file that others are written beside: throws Error also where it is a device, a
/// pipe or a descriptor, which have no place for them.
void require_regular(const std::filesystem::path& file);
/// The same of files in a folder, which is there or will be made with those above it; an empty path
/// is the current folder.
void require_writable_folder(const std::filesystem::path& folder);
/// Throws UsageError where both are one file or folder, which writing would destroy.
void require_other(const std::filesystem::path& input, const std::filesystem::path& output);

/// Prints lines for people on standard output; on stderr where one of the `files` that the command
/// writes is standard output (/dev/stdout), so that who reads that file finds nothing else in it.
void print_text(std::string_view text, std::initializer_list<std::filesystem::path> files);

}  // namespace pfc
