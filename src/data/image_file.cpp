#include "data/image_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <string>
#include <string_view>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 8> kImageEndings = {".jpg", ".jpeg", ".png",  ".webp",
                                                           ".bmp", ".jpe",  ".jfif", ".dib"};
/// Files that often lie beside images, one for each. They are not opened only to see that they are
/// not images.
constexpr std::array<std::string_view, 6> kOtherEndings = {".txt", ".json", ".xml",
                                                           ".csv", ".npy",  ".pts"};

std::string ending_in_small_letters(const fs::path& path) {
  std::string ending = path.extension().string();
  std::ranges::transform(ending, ending.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return ending;
}

std::string in_capitals(std::string_view text) {
  std::string capitals(text);
  std::ranges::transform(capitals, capitals.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return capitals;
}

}  // namespace

bool is_hidden(const fs::path& path) {
  return path.filename().native().starts_with('.');
}

bool is_image_name(const fs::path& path) {
  return std::ranges::count(kImageEndings, ending_in_small_letters(path)) > 0;
}

bool is_image_file(const fs::path& path) {
  const std::string ending = ending_in_small_letters(path);
  if (std::ranges::count(kImageEndings, ending) > 0) return true;
  if (std::ranges::count(kOtherEndings, ending) > 0) return false;
  std::array<char, 32> begin{};  // longer than any signature
  std::ifstream file(path, std::ios::binary);
  file.read(begin.data(), std::ssize(begin));
  if (!file && !file.eof()) throw IoError(path, "read", errno);
  const auto size = static_cast<std::size_t>(file.gcount());
  return image_format(std::as_bytes(std::span(begin)).first(size)).has_value();
}

bool is_image_there(const fs::path& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (status.type() == fs::file_type::none) throw IoError(file, "look at", error.value());
  return fs::is_regular_file(status);
}

fs::path find_image(const fs::path& path) {
  if (is_image_there(path)) return path;
  for (const std::string_view ending : kImageEndings) {
    for (const std::string& spelt : {std::string(ending), in_capitals(ending)})
      if (fs::path file = path.string() + spelt; is_image_there(file)) return file;
  }
  return {};
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
