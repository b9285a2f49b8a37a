#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "pfc/eval/features.h"

namespace pfc {

/// The parts of a folder that has the layout of InsightFace's megaface_testpack. A list that is not
/// there has an empty path.
struct MegafaceFolder {
  std::filesystem::path probe_images, distractor_images;
  std::filesystem::path probe_list, distractor_list;
  std::filesystem::path probe_noises, distractor_noises;
};
MegafaceFolder megaface_folder(const std::filesystem::path& folder);
/// Throws Error, naming it, if a folder of images is not there.
void require_images(const MegafaceFolder& folder);

/// Reads a list of paths, one a line, and returns the last `parts` components of each. Lines that
/// begin with # are skipped. `facescrub_lst` and `facescrub_noises.txt` name an image by two
/// components (person and file) and by one; `megaface_lst` and `megaface_noises.txt` by three. If a
/// line has tab-separated fields, the second one is the path. The list may also be "path" in a
/// devkit's JSON. Throws DataError with the line for a path with fewer components, and if the list
/// is empty and `may_be_empty` is not set.
std::vector<std::string> parse_megaface_list(std::span<const std::byte> text,
                                             const std::string& name, int parts,
                                             bool may_be_empty = false);
std::vector<std::string> read_megaface_list(const std::filesystem::path& path, int parts);
std::unordered_set<std::string> read_megaface_noises(const std::filesystem::path& path, int parts);

/// A feature file: the int32 numbers rows, 1, 4, 5 (an OpenCV matrix of float32), then the values.
/// Throws DataError if it is anything else.
std::vector<float> parse_megaface_feature(std::span<const std::byte> bytes,
                                          const std::string& name);
void write_megaface_feature(const std::filesystem::path& path, std::span<const float> values);

/// Features `FOLDER/NAME_ALGO.bin` for a list of names. InsightFace's remove_noises.py writes one
/// value more than a multiple of 64 (513). In such files the last value is a mark: the image is
/// bad, and its row reads as zeros. Throws Error if the first file cannot be read; read_row throws
/// DataError for a file of another size.
std::unique_ptr<Features> open_megaface_features(const std::filesystem::path& folder,
                                                 const std::string& algo,
                                                 std::vector<std::string> names);

}  // namespace pfc
