#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// What was not taken of a folder: counted, and the first few of each kind named.
class PassedOver {
 public:
  enum class Kind : std::uint8_t {
    kOther,         ///< files of other formats
    kHidden,        ///< files and folders
    kBroken,        ///< links to nothing or back, devices
    kEmpty,         ///< folders without an image
    kBesidePeople,  ///< images beside the folders of the people
  };

  void add(Kind kind, std::string_view name);
  /// In words: "2 files that are no JPEG, PNG, WebP or BMP (a.txt, b.gif), 1 hidden (.c)". Empty
  /// where nothing was.
  std::string text() const;

 private:
  struct Counted {
    std::int64_t count = 0;
    std::string names;  ///< of the first
  };
  std::array<Counted, 5> kinds_;
};

/// A folder by its path below the one that was walked ("" for itself), and its images' names.
using TakeFolder = std::function<void(const std::string& folder, std::vector<std::string> images)>;

/// Tells `take` of each folder that holds images, in the order of the bytes of the names, a folder
/// before those in it. Links are followed. Throws filesystem_error where a folder cannot be read.
void walk_images(const std::filesystem::path& root, const TakeFolder& take,
                 PassedOver& passed_over);

/// The same for a set of faces: each folder that holds images is a person, at whatever depth; its
/// path below `root` is the name. Images in `root` itself are passed over. Throws Error where there
/// is no person, or where it is not clear who is one: a folder with images that has a folder with
/// images in it.
void walk_people(const std::filesystem::path& root, const TakeFolder& take,
                 PassedOver& passed_over);

}  // namespace pfc
