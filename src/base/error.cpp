#include "pfc/base/error.h"

namespace pfc {

DataError::DataError(std::string_view file, std::string_view place, std::string_view what)
    : Error(std::string(file) + ": " + std::string(place) + ": " + std::string(what)) {}

}  // namespace pfc
