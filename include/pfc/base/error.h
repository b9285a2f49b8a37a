#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace pfc {

/// A failure that the user is told in one clear sentence; `pfc` prints it and exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Wrong bytes in a file that came from outside. The sentence names the file, the place in it, what
/// was found and what was wanted: `train.rec: offset 4096: magic 0x00000000, want 0xced7230a`.
class DataError : public Error {
 public:
  DataError(std::string_view file, std::string_view place, std::string_view what);
};

/// The system refused something: `train.rec: cannot open: Permission denied`. This says nothing
/// about what is in the file, so it must not be counted as a broken image or an empty list.
class IoError : public Error {
 public:
  /// `doing` is what was tried ("open"), `error` the errno.
  IoError(const std::filesystem::path& path, std::string_view doing, int error);

  std::error_code code() const { return code_; }
  /// Whether the file is not there at all.
  bool not_found() const;

 private:
  std::error_code code_;
};

/// The command line is wrong; `pfc` exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace pfc
