#pragma once

#include <algorithm>
#include <cstddef>  // for std::byte
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// `._a.jpg` of a Mac is no image.
bool is_hidden(const std::filesystem::path& path);
/// Whether a file's name ends in .jpg, .jpeg or .png, in letters of any case.
bool is_image_name(const std::filesystem::path& path);
/// Names in a folder that are not hidden and that `wanted` takes, sorted by their bytes, so that
/// labels do not depend on the file system.
template <class Predicate>
std::vector<std::string> names_in(const std::filesystem::path& folder, Predicate wanted) {
  std::vector<std::string> names;
  for (const std::filesystem::directory_entry& entry :
       std::filesystem::directory_iterator(folder)) {
    if (!is_hidden(entry.path()) && wanted(entry))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The whole of an image file, in `scratch`. Throws DataError where it is not there and IoError
/// where it cannot be read, which says nothing of the image.
std::span<const std::byte> read_image_file(const std::filesystem::path& path,
                                           std::vector<std::byte>& scratch);

}  // namespace pfc
