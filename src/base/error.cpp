#include "pfc/base/error.h"

namespace pfc {

DataError::DataError(std::string_view file, std::string_view place, std::string_view what)
    : Error(std::string(file) + ": " + std::string(place) + ": " + std::string(what)) {}

IoError::IoError(const std::filesystem::path& path, std::string_view doing, int error)
    : Error(path.string() + ": cannot " + std::string(doing) + ": " +
            std::system_category().message(error)),
      code_(error, std::system_category()) {}

bool IoError::not_found() const {
  return code_ == std::errc::no_such_file_or_directory || code_ == std::errc::not_a_directory;
}

}  // namespace pfc
