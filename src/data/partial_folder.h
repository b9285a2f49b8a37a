#pragma once

#include <filesystem>

namespace pfc {

/// A folder that appears whole: it grows as `FOLDER.partial` and gets its name by `commit`. What an
/// earlier run left in it is still there.
class PartialFolder {
 public:
  /// Throws Error where `folder` is there already or cannot be made.
  explicit PartialFolder(const std::filesystem::path& folder);
  /// Leaves nothing where nothing was put into it.
  ~PartialFolder();
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }
  void commit();

 private:
  std::filesystem::path folder_, partial_;
};

}  // namespace pfc
