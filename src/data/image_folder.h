#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pfc {

/// What a folder reader skipped: counted, with the names of the first few of each kind.
class PassedOver {
 public:
  enum class Kind : std::uint8_t {
    kOther,         ///< files of other formats
    kHidden,        ///< files and folders
    kBroken,        ///< links to nothing or to an outer folder, devices
    kEmpty,         ///< folders without an image
    kBesidePeople,  ///< images outside the people's folders
  };

  void add(Kind kind, std::string_view name);
  /// In words: "2 files that are no JPEG, PNG, WebP or BMP (a.txt, b.gif), 1 hidden (.c)". Empty if
  /// nothing was skipped.
  std::string text() const;

 private:
  struct Counted {
    std::int64_t count = 0;
    std::string names;  ///< of the first few
  };
  std::array<Counted, 5> kinds_;
};

/// Gets a folder by its path below the root ("" for the root), and the names of its images.
using TakeFolder = std::function<void(const std::string& folder, std::vector<std::string> images)>;

/// Calls `take` for each folder that holds images, in the order of the bytes of the names, a folder
/// before those inside it. Links are followed. Throws filesystem_error if a folder cannot be read.
void walk_images(const std::filesystem::path& root, const TakeFolder& take,
                 PassedOver& passed_over);

/// The same for a set of faces. Each folder that holds images is a person, at any depth; the name
/// is its path below `root`. Images in `root` itself are skipped. Throws Error if there is no
/// person, or if it is unclear who is one: a folder with images that contains another folder with
/// images.
void walk_people(const std::filesystem::path& root, const TakeFolder& take,
                 PassedOver& passed_over);

}  // namespace pfc
