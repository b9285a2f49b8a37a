#pragma once

#include <filesystem>

namespace pfc {

/// A folder that appears whole: it grows as `FOLDER.partial` and gets its name by `commit`. What an
/// earlier run left in it is kept.
class PartialFolder {
 public:
  /// Throws Error if `folder` exists or cannot be created.
  explicit PartialFolder(const std::filesystem::path& folder);
  /// Removes the partial folder if nothing was put into it.
  ~PartialFolder();
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }
  void commit();

 private:
  std::filesystem::path folder_, partial_;
};

}  // namespace pfc
