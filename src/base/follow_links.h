#pragma once

#include <filesystem>

namespace pfc {

/// Where writing to `path` goes: what its links lead to, there or not. A link of /proc is not
/// followed, as it leads to something that is open and may have no name. Throws IoError.
std::filesystem::path follow_links(const std::filesystem::path& path);

}  // namespace pfc
