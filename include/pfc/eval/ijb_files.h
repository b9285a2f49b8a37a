#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pfc/align/align.h"
#include "pfc/data/image_source.h"

namespace pfc {

/// The images of IJB-B or IJB-C in the order of `meta/*_name_5pts_score.txt`.
struct IjbImages {
  std::vector<std::string> names;    ///< paths below `loose_crop`
  std::vector<Landmarks> landmarks;  ///< in pixels of the image
  std::vector<float> scores;         ///< of the face detector
  std::vector<std::int32_t> templates, media;

  std::int64_t count() const { return std::ssize(names); }
};

/// Pairs of templates to verify.
struct IjbPairs {
  std::vector<std::int32_t> first, second;  ///< templates
  std::vector<std::uint8_t> same;
};

/// Templates and the subjects they show, each once, in the order of the file.
struct IjbSubjects {
  std::string name;  ///< of the gallery or of the file, for results
  std::vector<std::int32_t> templates = {}, subjects = {};
};

/// The folder of IJB-B or IJB-C, as it is distributed, with the files that InsightFace's tools add:
/// `meta/PREFIX_face_tid_mid.txt` (name template medium), `PREFIX_name_5pts_score.txt` (name x1 y1
/// … x5 y5 score), `PREFIX_template_pair_label.txt` (template template 0|1), and for identification
/// `PREFIX_1N_gallery_*.csv` and `PREFIX_1N_probe_mixed.csv` (template, subject, …).
struct IjbSet {
  std::string name;  ///< IJB-B or IJB-C
  std::filesystem::path images_folder;
  std::string images_list;  ///< the file with the names, for messages
  IjbImages images;
  IjbPairs pairs;
  std::vector<IjbSubjects> galleries;  ///< empty if the files are missing
  IjbSubjects probes;
};

/// Throws Error if a file is missing or cannot be read. Throws DataError with file and line if a
/// file is of another kind, if it names a template without images, or if the first two do not have
/// the same names in the same order.
IjbSet open_ijb(const std::filesystem::path& folder);

/// The faces of a set: images below its folder, aligned by their landmarks. The set must outlive
/// them.
std::unique_ptr<ImageSource> aligned_images(const IjbSet& set);

/// Reads the two lists of images; the names stand for the files in messages.
IjbImages parse_ijb_images(std::span<const std::byte> tid_mid, const std::string& tid_mid_name,
                           std::span<const std::byte> landmarks, const std::string& landmarks_name);
IjbPairs parse_ijb_pairs(std::span<const std::byte> text, const std::string& name);
IjbSubjects parse_ijb_subjects(std::span<const std::byte> text, const std::string& name);

}  // namespace pfc
