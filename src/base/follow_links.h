#pragma once

#include <filesystem>

namespace pfc {

/// Where a write to `path` goes: the target of its links, whether that exists or not. Links of
/// /proc are not followed, because they lead to something open that may have no name. Throws
/// IoError.
std::filesystem::path follow_links(const std::filesystem::path& path);

}  // namespace pfc
