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

/// `._a.jpg` of a Mac is not an image.
bool is_hidden(const std::filesystem::path& path);
/// Whether a file's name has the ending of an image format that is read, in upper or lower case.
bool is_image_name(const std::filesystem::path& path);
/// Whether a file is an image of a format that is read: by its name, otherwise by its first bytes.
/// Throws Error if these cannot be read.
bool is_image_file(const std::filesystem::path& path);
/// Names in a folder that are not hidden and for which `wanted` is true. They are sorted by their
/// bytes, so that labels do not depend on the file system. Throws IoError if the folder cannot be
/// listed.
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

/// Whether a listed image exists. A link to nothing does not count. Throws IoError if this cannot
/// be found out.
bool is_image_there(const std::filesystem::path& file);
/// The file of an image that a list may name without its ending; empty if there is none.
std::filesystem::path find_image(const std::filesystem::path& path);

/// Reads a whole image file into `scratch`. Throws DataError if it does not exist, and IoError if
/// it cannot be read, which says nothing about the image.
std::span<const std::byte> read_image_file(const std::filesystem::path& path,
                                           std::vector<std::byte>& scratch);

}  // namespace pfc
