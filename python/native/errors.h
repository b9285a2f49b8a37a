#pragma once

#include <filesystem>
#include <stdexcept>

#include "pfc/base/error.h"
#include "pfc/base/paths.h"
#include "pfc/comm/communicator.h"

namespace pfc::python {

/// FileNotFoundError.
class NotFound : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// OSError.
class SystemRefused : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What users set wrongly, and what is wrong in their files, is a ValueError.
template <class Body>
auto refusing(const Body& body) {
  try {
    return body();
  } catch (const RankLost&) {  // a RuntimeError
    throw;
  } catch (const IoError& error) {
    if (error.not_found()) throw NotFound(error.what());
    throw SystemRefused(error.what());
  } catch (const Error& error) {
    throw std::invalid_argument(error.what());
  }
}

/// Inside of `refusing`, for what opens a file or a folder that the user named: throws NotFound if
/// it is not there.
template <class Body>
auto opening(const std::filesystem::path& path, const Body& body) {
  try {
    return body();
  } catch (const IoError&) {
    throw;
  } catch (const Error& error) {
    if (!is_there(path)) throw NotFound(error.what());
    throw;
  }
}

}  // namespace pfc::python
