#include "data/image_file.h"

#include <algorithm>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {

bool is_hidden(const std::filesystem::path& path) {
  return path.filename().native().starts_with('.');
}

bool is_image_name(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

std::span<const std::byte> read_image_file(const std::filesystem::path& path,
                                           std::vector<std::byte>& scratch) {
  try {
    read_file(path, scratch);
  } catch (const IoError& error) {
    if (!error.not_found()) throw;
    throw DataError(path.string(), "image", "is not there");
  }
  return scratch;
}

}  // namespace pfc
