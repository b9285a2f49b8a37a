#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pfc {

class VerificationSet;

/// Encoded face images with names, to be embedded. Reading is safe from several threads at once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  virtual std::int64_t size() const = 0;
  /// The encoded bytes of an image, in place where they can be, else in `scratch`.
  /// Throws DataError where the bytes are not there, IoError where they cannot be read.
  virtual std::span<const std::byte> image(std::int64_t index,
                                           std::vector<std::byte>& scratch) const = 0;
  virtual std::string name(std::int64_t index) const = 0;
  /// What was passed over, in words; empty where nothing was.
  virtual std::string passed_over() const { return ""; }
  /// The aligned face in `pixels` [112, 112, 3]: the image itself, which must have that size,
  /// unless a source says otherwise. Throws Error.
  virtual void face(std::int64_t index, std::vector<std::byte>& scratch,
                    std::uint8_t* pixels) const;
};

/// Opens
/// - a `.rec`, or a folder that holds train.rec, as open_dataset does: names are `label/key`;
/// - a folder: every image in it and the folders below, by their paths below it, in the order of
///   their bytes; what is hidden or no image is passed over;
/// - one image.
/// Throws Error where there is no image, and what open_dataset throws.
std::unique_ptr<ImageSource> open_images(const std::filesystem::path& path,
                                         const std::filesystem::path& cache_dir = {});
/// The images of a list: paths below a folder.
std::unique_ptr<ImageSource> list_images(const std::filesystem::path& folder,
                                         std::vector<std::string> names);

/// The images of a verification set, which must outlive them: 2i and 2i + 1 are those of pair i.
std::unique_ptr<ImageSource> images_of_pairs(const VerificationSet& set);

}  // namespace pfc
