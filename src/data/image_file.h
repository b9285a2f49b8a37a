#pragma once

#include <cstddef>  // for std::byte
#include <filesystem>
#include <span>
#include <vector>

namespace pfc {

/// `._a.jpg` of a Mac is no image.
bool is_hidden(const std::filesystem::path& path);
/// Whether a file's name ends in .jpg, .jpeg or .png, in letters of any case.
bool is_image_name(const std::filesystem::path& path);
/// The whole of an image file, in `scratch`. Throws DataError where it cannot be read.
std::span<const std::byte> read_image_file(const std::filesystem::path& path,
                                           std::vector<std::byte>& scratch);

}  // namespace pfc
