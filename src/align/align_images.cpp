#include "pfc/align/align_images.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "data/image_file.h"
#include "data/ordered_work.h"
#include "data/partial_folder.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/list_name.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTemporary = ".tmp";
constexpr const char* kList = "not_aligned.txt";

/// Writes a file that is complete under its name, but not yet safe from a power cut: the folder is
/// synced at the end.
void write_whole(const fs::path& path, std::span<const std::byte> bytes) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) throw IoError(path.parent_path(), "make the folder", error.value());
  const fs::path temporary = path.string() + kTemporary;
  write_in_place(temporary, bytes);
  fs::rename(temporary, path, error);
  if (error) throw IoError(path, "write", error.value());
}

std::vector<std::string> file_names(const ImageSource& images, bool png) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < images.size(); ++i)
    names.push_back(fs::path(images.name(i)).replace_extension(png ? ".png" : ".jpg").string());
  auto sorted = names;
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end())
    throw Error("two pictures would become " + printable(*twice) + ": rename one of them");
  return names;
}

/// The faces that an earlier run left in its folder. Its list, and files that were unfinished when
/// it was killed, are removed; they would otherwise stay in the set.
std::unordered_set<std::string> written_before(const fs::path& folder) {
  std::unordered_set<std::string> names;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!entry.is_regular_file()) continue;
      const std::string name = entry.path().lexically_relative(folder).string();
      if (entry.path().extension() == kTemporary || name.starts_with(kList)) {
        fs::remove(entry.path());
      } else {
        names.insert(name);
      }
    }
  } catch (const fs::filesystem_error& error) {
    throw IoError(error.path1(), "look into", error.code().value());
  }
  return names;
}

/// A run writes all its faces in one size, so one of them tells.
void require_size(const fs::path& face, int size) {
  std::vector<std::byte> scratch;
  ImageSize found;
  try {
    found = image_size(read_image_file(face, scratch));
  } catch (const IoError&) {
    throw;
  } catch (const Error&) {  // no face; whatever it is, it is kept
    return;
  }
  if (found == ImageSize{size, size}) return;
  throw Error(face.string() + ": an interrupted run wrote faces of " + std::to_string(found.width) +
              " x " + std::to_string(found.height) + " pixels, want " + std::to_string(size) +
              " x " + std::to_string(size) + "; remove the folder to begin anew");
}

}  // namespace

AlignCounts align_images(
    const ImageSource& images,
    const std::function<Landmarks(std::string_view name, const RgbImage& picture)>& landmarks_of,
    const AlignImagesOptions& options) {
  const std::vector<std::string> names = file_names(images, options.png);
  PartialFolder folder(options.folder);
  std::vector<std::int64_t> left;
  {
    const auto written = written_before(folder.path());
    if (!written.empty()) require_size(folder.path() / *written.begin(), options.size);
    for (std::int64_t i = 0; i < images.size(); ++i)
      if (!written.contains(names[static_cast<std::size_t>(i)])) left.push_back(i);
  }
  AlignCounts counts;
  counts.kept = images.size() - std::ssize(left);
  std::int64_t done = counts.aligned = counts.kept;
  options.progress(done, images.size());
  /// Why a picture was not aligned; empty if it was.
  const auto align_one = [&](std::int64_t k) -> std::string {
    const std::int64_t i = left[static_cast<std::size_t>(k)];
    RgbImage face;
    try {
      std::vector<std::byte> scratch;
      const RgbImage picture = decode_image(images.image(i, scratch));
      face = align_face(picture, landmarks_of(images.name(i), picture), options.size);
    } catch (const IoError&) {  // says nothing about the picture
      throw;
    } catch (const Error& error) {
      return error.what();
    }
    write_whole(folder.path() / names[static_cast<std::size_t>(i)],
                options.png ? encode_png(face) : encode_jpeg(face, options.quality));
    return "";
  };
  std::string list;  // in memory, because an open file could be left behind
  ordered_work(std::ssize(left), options.threads, align_one,
               [&](std::int64_t k, const std::string& reason) {
                 if (reason.empty()) {
                   ++counts.aligned;
                 } else {
                   const std::string name = images.name(left[static_cast<std::size_t>(k)]);
                   if (list.empty()) counts.first_reason = printable(name) + ": " + reason;
                   ++counts.not_aligned;
                   list += list_name(name) + "\t" + printable_line(reason) + "\n";
                 }
                 options.progress(++done, images.size());
               });
  if (!list.empty()) write_file(folder.path() / kList, list);
  if (counts.aligned == 0) {
    throw Error(options.folder.string() + ": none of " + counted(images.size(), "picture") +
                " was aligned; " + (folder.path() / kList).string() +
                " says why: " + counts.first_reason);
  }
  folder.commit();
  return counts;
}

}  // namespace pfc
