#include "pfc/base/outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/follow_links.h"
#include "pfc/base/error.h"
#include "pfc/base/paths.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& output, const std::string& why) {
  throw Error(output.string() + ": cannot be written: " + why);
}

/// Checked with the effective rights, as opening would; works on a read-only file system too.
void require_access(const fs::path& output, const fs::path& path, int mode) {
  if (::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) != 0)
    refuse(output, path.string() + ": " + std::strerror(errno));
}

void require_place_for_files(const fs::path& output, const fs::path& folder) {
  if (!is_folder(folder)) refuse(output, folder.string() + " is not a folder");
  require_access(output, folder, W_OK | X_OK);
}

}  // namespace

void require_writable(const fs::path& file) try {
  if (file.empty()) return;
  const fs::path target = follow_links(file);
  const fs::file_status status = fs::symlink_status(target);
  if (fs::is_directory(status)) refuse(file, "it is a folder, want the name of a file");
  if (fs::exists(status) && !fs::is_regular_file(status)) return require_access(file, target, W_OK);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : ".";
  if (!is_there(folder)) refuse(file, "there is no folder " + folder.string() + ", make it first");
  require_place_for_files(file, folder);
} catch (const fs::filesystem_error& error) {
  refuse(file, error.code().message());
} catch (const IoError& error) {
  refuse(file, error.code().message());
}

void require_regular(const fs::path& file) {
  require_writable(file);
  const fs::file_status status = fs::symlink_status(follow_links(file));
  if (fs::exists(status) && !fs::is_regular_file(status))
    refuse(file,
           "it is a device or a pipe; want the name of a file, because other files are written "
           "beside it");
}

void require_other(const fs::path& input, const fs::path& output) {
  std::error_code missing;  // a missing file means that they are not the same
  if (fs::equivalent(input, output, missing)) {
    throw UsageError("the input and the output are the same, \"" + output.string() +
                     "\"; name another output");
  }
}

void require_writable_folder(const fs::path& folder) try {
  fs::path there = fs::absolute(folder.empty() ? "." : folder);
  while (!is_there(there)) there = there.parent_path();
  require_place_for_files(folder, there);
} catch (const fs::filesystem_error& error) {
  refuse(folder, error.code().message());
}

}  // namespace pfc
