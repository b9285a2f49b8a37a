#include "pfc/align/align_images.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "data/ordered_work.h"
#include "data/partial_folder.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  bool kept = false;
  std::string reason;  // why it was not aligned; empty where it was
};

/// A file that is whole under its name, though not yet safe from a power cut: the folder is synced
/// at the end.
void write_whole(const fs::path& path, std::span<const std::byte> bytes) {
  fs::create_directories(path.parent_path());
  const fs::path temporary = path.string() + ".tmp";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  file.close();
  if (!file || std::rename(temporary.c_str(), path.c_str()) != 0)
    throw Error(path.string() + ": cannot write: " + std::strerror(errno));
}

std::vector<std::string> file_names(const ImageSource& images, bool png) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < images.size(); ++i)
    names.push_back(fs::path(images.name(i)).replace_extension(png ? ".png" : ".jpg").string());
  auto sorted = names;
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end())
    throw Error("two pictures would become " + *twice + ": rename one of them");
  return names;
}

}  // namespace

AlignCounts align_images(
    const ImageSource& images,
    const std::function<Landmarks(std::string_view name, const RgbImage& picture)>& landmarks_of,
    const AlignImagesOptions& options) {
  const std::vector<std::string> names = file_names(images, options.png);
  PartialFolder folder(options.folder);
  AtomicFile list(folder.path() / "not_aligned.txt");
  AlignCounts counts;
  const auto align_one = [&](std::int64_t i) -> Outcome {
    const fs::path path = folder.path() / names[static_cast<std::size_t>(i)];
    if (fs::exists(path)) return {.kept = true, .reason = ""};
    RgbImage face;
    try {
      std::vector<std::byte> scratch;
      const RgbImage picture = decode_image(images.image(i, scratch));
      face = align_face(picture, landmarks_of(images.name(i), picture));
    } catch (const IoError&) {  // nothing is known of the picture
      throw;
    } catch (const Error& error) {
      return {.kept = false, .reason = error.what()};
    }
    write_whole(path, options.png ? encode_png(face) : encode_jpeg(face, options.quality));
    return {};
  };
  ordered_work(images.size(), options.threads, align_one,
               [&](std::int64_t i, const Outcome& outcome) {
                 if (outcome.reason.empty()) {
                   ++counts.aligned;
                   counts.kept += outcome.kept ? 1 : 0;
                 } else {
                   ++counts.not_aligned;
                   list.write(images.name(i) + "\t" + outcome.reason + "\n");
                 }
                 options.progress(i + 1, images.size());
               });
  if (counts.not_aligned > 0) list.commit();
  if (counts.aligned == 0) {
    throw Error(options.folder.string() + ": none of " + std::to_string(images.size()) +
                " pictures was aligned; " + folder.path().string() + "/not_aligned.txt says why");
  }
  folder.commit();
  return counts;
}

}  // namespace pfc
