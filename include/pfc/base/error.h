#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace pfc {

/// A failure that is told to the user in one clear sentence; `pfc` prints it and exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something wrong in bytes that came from outside. The sentence names the file, the place in it,
/// what was found and what was wanted: `train.rec: offset 4096: magic 0x00000000, want 0xced7230a`.
class DataError : public Error {
 public:
  DataError(std::string_view file, std::string_view place, std::string_view what);
};

/// The command line is wrong; `pfc` exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace pfc
