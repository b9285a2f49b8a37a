#include "data/image_folder.h"

#include <algorithm>
#include <optional>
#include <system_error>

#include "data/image_file.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using Kind = PassedOver::Kind;

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

class Walk {
 public:
  Walk(const fs::path& root, const TakeFolder& take, PassedOver& passed_over)
      : root_(root), take_(take), passed_over_(passed_over) {}

  /// Whether there is an image in `folder` or below.
  bool visit(const std::string& folder) {
    std::vector<std::string> images, folders;
    for (const fs::directory_entry& entry : fs::directory_iterator(root_ / folder))
      sort_in(entry, folder, images, folders);
    std::ranges::sort(images);
    std::ranges::sort(folders);
    bool found = !images.empty();
    if (found) take_(folder, std::move(images));
    for (const std::string& name : folders) {
      const std::string below = join(folder, name);
      if (leads_back(below)) {
        passed_over_.add(Kind::kBroken, below);
      } else if (visit(below)) {
        found = true;
      } else {
        passed_over_.add(Kind::kEmpty, below);
      }
    }
    return found;
  }

 private:
  void sort_in(const fs::directory_entry& entry, const std::string& folder,
               std::vector<std::string>& images, std::vector<std::string>& folders) {
    const std::string name = entry.path().filename().string(), below = join(folder, name);
    if (is_hidden(entry.path())) return passed_over_.add(Kind::kHidden, below);
    std::error_code error;
    const fs::file_status status = entry.status(error);  // of a link's target
    if (fs::is_directory(status)) {
      folders.push_back(name);
    } else if (fs::is_regular_file(status)) {
      if (is_image_file(entry.path())) {
        images.push_back(name);
      } else {
        passed_over_.add(Kind::kOther, below);
      }
    } else if (status.type() == fs::file_type::none &&
               error != std::errc::too_many_symbolic_link_levels) {
      throw fs::filesystem_error("status", entry.path(), error);
    } else {
      passed_over_.add(Kind::kBroken, below);
    }
  }

  /// Whether a folder is a link to a folder that contains it.
  bool leads_back(const std::string& folder) const {
    if (!fs::is_symlink(root_ / folder)) return false;
    const fs::path target = fs::canonical(root_ / folder);
    for (fs::path above = (root_ / folder).parent_path();; above = above.parent_path()) {
      if (fs::equivalent(above.empty() ? "." : above, target)) return true;
      if (above == root_ || above == above.parent_path()) return false;
    }
  }

  const fs::path& root_;
  const TakeFolder& take_;
  PassedOver& passed_over_;
};

}  // namespace

void PassedOver::add(Kind kind, std::string_view name) {
  constexpr std::int64_t kNamed = 3;
  Counted& counted = kinds_[static_cast<std::size_t>(kind)];
  if (counted.count < kNamed) counted.names += (counted.count == 0 ? "" : ", ") + printable(name);
  if (counted.count == kNamed) counted.names += ", ...";
  ++counted.count;
}

std::string PassedOver::text() const {
  struct Words {
    std::string_view one, more;
  };
  constexpr std::array<Words, 5> kWords = {{
      {" file that is no JPEG, PNG, WebP or BMP", " files that are no JPEG, PNG, WebP or BMP"},
      {" hidden file", " hidden files"},
      {" link that leads nowhere", " links that lead nowhere"},
      {" folder without an image", " folders without an image"},
      {" image beside the people's folders", " images beside the people's folders"},
  }};
  std::string text;
  for (std::size_t i = 0; i < kinds_.size(); ++i) {
    if (kinds_[i].count == 0) continue;
    if (!text.empty()) text += ", ";
    text += grouped(kinds_[i].count);
    text += kinds_[i].count == 1 ? kWords[i].one : kWords[i].more;
    text += " (" + kinds_[i].names + ")";
  }
  return text;
}

void walk_images(const fs::path& root, const TakeFolder& take, PassedOver& passed_over) {
  if (Walk(root, take, passed_over).visit("")) return;
  const std::string others = passed_over.text();
  throw Error(root.string() + ": no image found, in it and all folders below; want " +
              std::string(kImageFormats) + (others.empty() ? "" : "; passed over: " + others));
}

void walk_people(const fs::path& root, const TakeFolder& take, PassedOver& passed_over) {
  std::optional<std::string> last;  // person
  std::vector<std::string> beside;
  walk_images(
      root,
      [&](const std::string& folder, std::vector<std::string> images) {
        if (folder.empty()) {
          beside = std::move(images);
          return;
        }
        if (last && folder.starts_with(*last + "/")) {
          throw Error(root.string() + ": " + printable(*last) + " holds images, and so does " +
                      printable(folder) +
                      ": which of them is the person? Want the images of each in one folder");
        }
        last = folder;
        take(folder, std::move(images));
      },
      passed_over);
  if (!last) {
    throw Error(root.string() + ": " + counted(std::ssize(beside), "image") +
                " in the folder itself, want a folder with images for each person in it");
  }
  for (const std::string& image : beside) passed_over.add(Kind::kBesidePeople, image);
}

}  // namespace pfc
