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

/// Encoded face images with names, for embedding. Reading is safe from several threads at once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  virtual std::int64_t size() const = 0;
  /// The encoded bytes of an image: in place if possible, otherwise copied into `scratch`. Throws
  /// DataError if the bytes are not there, IoError if they cannot be read.
  virtual std::span<const std::byte> image(std::int64_t index,
                                           std::vector<std::byte>& scratch) const = 0;
  virtual std::string name(std::int64_t index) const = 0;
  /// What was skipped, in words; empty if nothing was.
  virtual std::string passed_over() const { return ""; }
  /// Writes the aligned face into `pixels` [112, 112, 3]. By default it is the image itself, which
  /// must have that size. Throws Error.
  virtual void face(std::int64_t index, std::vector<std::byte>& scratch,
                    std::uint8_t* pixels) const;
};

/// Opens one of these:
/// - a `.rec`, or a folder that holds train.rec, as open_dataset does; names are `label/key`;
/// - a folder: every image in it and in the folders below. The name is the path below the folder,
///   in the order of its bytes. Hidden files and files that are not images are skipped;
/// - one image.
///
/// Throws Error if there is no image, and whatever open_dataset throws.
std::unique_ptr<ImageSource> open_images(const std::filesystem::path& path,
                                         const std::filesystem::path& cache_dir = {});
/// The images of a list, given as paths below a folder.
std::unique_ptr<ImageSource> list_images(const std::filesystem::path& folder,
                                         std::vector<std::string> names);

/// The names of all images of a source.
std::vector<std::string> names_of(const ImageSource& images);

/// The images of a verification set, which must outlive them. Images 2i and 2i + 1 are pair i.
std::unique_ptr<ImageSource> images_of_pairs(const VerificationSet& set);

}  // namespace pfc
