#pragma once

#include <filesystem>
#include <vector>

namespace pfc {

// What stands at a path. Only the system's "no such file" is absence. Everything else that keeps it
// from being looked at throws Error: a folder that may not be searched, a disk that does not
// answer, a file where a folder was wanted, and a link to what is not there, as where a disk is not
// mounted. std::filesystem takes some of these for absence, and a run would begin anew over its own
// results.

bool is_there(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);
/// A regular file.
bool is_file(const std::filesystem::path& path);

/// The paths of all that a folder holds, sorted by the bytes of their names. Throws Error where the
/// folder is not there or cannot be read to its end.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

}  // namespace pfc
