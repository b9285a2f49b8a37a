#include "pfc/base/paths.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "pfc/base/error.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

/// The system gives the same answer for a missing file and for a path beyond a dangling link. So
/// the nearest existing part of the path is examined: is it such a link?
void refuse_dangling_link(const fs::path& path) {
  struct stat info {};
  for (fs::path part = path; !part.empty(); part = part.parent_path()) {
    if (::lstat(part.c_str(), &info) == 0) {
      if (!S_ISLNK(info.st_mode) || ::stat(part.c_str(), &info) == 0) return;
      std::error_code unreadable;
      throw Error(part.string() + ": a link to " + fs::read_symlink(part, unreadable).string() +
                  ", which is not there; is its disk mounted?");
    }
    if (part == part.parent_path()) return;
  }
}

/// The kind of file (S_IFREG, S_IFDIR, …); 0 if nothing is there.
mode_t kind_of(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return info.st_mode & S_IFMT;
  const int error = errno;
  if (error != ENOENT) throw IoError(path, "look at", error);
  refuse_dangling_link(path);
  return 0;
}

}  // namespace

bool is_there(const fs::path& path) {
  return kind_of(path) != 0;
}

bool is_folder(const fs::path& path) {
  return kind_of(path) == S_IFDIR;
}

bool is_file(const fs::path& path) {
  return kind_of(path) == S_IFREG;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  try {
    for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  } catch (const fs::filesystem_error& error) {
    throw IoError(folder, "list", error.code().value());
  }
  std::ranges::sort(entries);
  return entries;
}

}  // namespace pfc
