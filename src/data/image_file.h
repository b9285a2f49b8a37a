#pragma once

#include <algorithm>
#include <cstddef>  // for std::byte
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pfc/base/error.h"

namespace pfc {

/// `._a.jpg` of a Mac is no image.
bool is_hidden(const std::filesystem::path& path);
/// Whether a file's name ends as an image's of a format that is read, in letters of any case.
bool is_image_name(const std::filesystem::path& path);
/// Whether a file is an image of a format that is read: by its name, or else by its first bytes.
/// Throws Error where these cannot be read.
bool is_image_file(const std::filesystem::path& path);
/// Names in a folder that are not hidden and that `wanted` takes, sorted by their bytes, so that
/// labels do not depend on the file system. Throws IoError where the folder cannot be listed.
template <class Predicate>
std::vector<std::string> names_in(const std::filesystem::path& folder, Predicate wanted) {
  std::vector<std::string> names;
  try {
    for (const std::filesystem::directory_entry& entry :
         std::filesystem::directory_iterator(folder)) {
      if (!is_hidden(entry.path()) && wanted(entry))
        names.push_back(entry.path().filename().string());
    }
  } catch (const std::filesystem::filesystem_error& error) {
    throw IoError(folder, "list", error.code().value());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Whether an image of a list is there; a link to nothing is not. Throws IoError where this cannot
/// be told.
bool is_image_there(const std::filesystem::path& file);
/// The file of an image that a list may name without its ending; empty where there is none.
std::filesystem::path find_image(const std::filesystem::path& path);

/// The whole of an image file, in `scratch`. Throws DataError where it is not there and IoError
/// where it cannot be read, which says nothing of the image.
std::span<const std::byte> read_image_file(const std::filesystem::path& path,
                                           std::vector<std::byte>& scratch);

}  // namespace pfc
