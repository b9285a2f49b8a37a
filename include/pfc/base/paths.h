#pragma once

#include <filesystem>
#include <vector>

namespace pfc {

// What exists at a path. A path counts as absent only if the system says "no such file". Everything
// else that hides it throws Error: a folder without search permission, a disk that does not answer,
// a file where a folder was wanted, or a link to something missing (an unmounted disk).
// std::filesystem reports some of these as absence; a run would then start again over its own
// results.

bool is_there(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);
/// A regular file.
bool is_file(const std::filesystem::path& path);

/// The paths of everything in a folder, sorted by the bytes of their names. Throws Error if the
/// folder does not exist or cannot be read to its end.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

}  // namespace pfc
