#include "data/image_file.h"

#include <algorithm>
#include <fstream>
#include <string>

#include "pfc/base/error.h"

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
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) throw DataError(path.string(), "image", "cannot be opened");
  const std::streamoff size = in.tellg();
  scratch.resize(static_cast<std::size_t>(std::max<std::streamoff>(size, 0)));
  in.seekg(0);
  if (!in.read(reinterpret_cast<char*>(scratch.data()), size)) {
    throw DataError(path.string(), "image", "cannot be read");
  }
  return scratch;
}

}  // namespace pfc
