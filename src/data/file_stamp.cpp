#include "data/file_stamp.h"

#include <sys/stat.h>

#include <cerrno>

#include "pfc/base/error.h"

namespace pfc {

std::string FileStamp::text() const {
  return size == kNoFile ? "-" : std::to_string(size) + " " + std::to_string(time);
}

FileStamp stamp_of(const std::filesystem::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) {
    const IoError error(file, "look at", errno);
    if (!error.not_found()) throw error;
    return {};
  }
  return {.size = static_cast<std::uint64_t>(info.st_size),
          .time = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

}  // namespace pfc
