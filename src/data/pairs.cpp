#include "pfc/data/pairs.h"

#include <array>
#include <optional>
#include <string_view>

#include "data/image_file.h"
#include "data/text_lines.h"
#include "data/whole_number.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/verification_set.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

std::string lfw_path(std::string_view name, std::int32_t image) {
  const std::string person(name);
  return person + "/" + format("%s_%04d", person.c_str(), image);
}

ImagePair lfw_pair(const TextLines& lines, bool same) {
  const auto& f = lines.fields();
  const std::size_t wanted = same ? 3 : 4;
  const auto first = f.size() == wanted ? whole_number<std::int32_t>(f[1]) : std::nullopt;
  const auto second = f.size() == wanted ? whole_number<std::int32_t>(f[wanted - 1]) : std::nullopt;
  if (!first || !second) lines.fail(same ? "\"NAME I J\"" : "\"NAME1 I NAME2 J\"");
  return {lfw_path(f[0], *first), lfw_path(same ? f[0] : f[2], *second), same, lines.number()};
}

/// After the line with the numbers of folds and pairs.
std::vector<ImagePair> lfw_pairs(TextLines& lines, std::int64_t folds, std::int64_t pairs) {
  std::vector<ImagePair> result;
  const std::int64_t total = 2 * folds * pairs;
  while (lines.next()) {
    const auto i = std::ssize(result);
    if (i == total) lines.fail("an end after " + counted(total, "pair"));
    result.push_back(lfw_pair(lines, i / pairs % 2 == 0));
  }
  if (std::ssize(result) != total) {
    lines.fail(counted(total, "pair") + ", the first line says, and this is the last of " +
               std::to_string(result.size()));
  }
  return result;
}

fs::path find_image(const fs::path& root, const std::string& path, const std::string& place) {
  for (const char* ending : {"", ".jpg", ".jpeg", ".png"}) {
    fs::path file = root / (path + ending);
    if (fs::is_regular_file(file)) return file;
  }
  throw Error(place + ": no image " + (root / path).string());
}

}  // namespace

std::vector<ImagePair> parse_pairs(std::span<const std::byte> text, const std::string& name) {
  TextLines lines(text, name);
  if (!lines.next()) throw DataError(name, "whole file", "no pairs");
  const auto& f = lines.fields();
  if (f.size() <= 2) {
    const auto folds =
        f.size() == 2 ? whole_number<std::int32_t>(f[0]) : std::optional<std::int32_t>(1);
    const auto pairs = whole_number<std::int32_t>(f.back());
    if (!folds || !pairs || *folds == 0 || *pairs == 0)
      lines.fail("\"FOLDS PAIRS\" or \"PATH1 PATH2 SAME\"");
    return lfw_pairs(lines, *folds, *pairs);
  }
  std::vector<ImagePair> result;
  do {
    if (f.size() != 3 || (f[2] != "0" && f[2] != "1"))
      lines.fail("\"PATH1 PATH2 SAME\", SAME 1 or 0");
    result.push_back({std::string(f[0]), std::string(f[1]), f[2] == "1", lines.number()});
  } while (lines.next());
  return result;
}

void pack_pairs(const fs::path& list, const fs::path& root, const fs::path& out,
                const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  const std::vector<ImagePair> pairs = parse_pairs(MappedFile(list).bytes(), list.string());
  VerificationSetWriter writer(out);
  std::array<std::vector<std::byte>, 2> scratch;
  for (std::int64_t i = 0; i < std::ssize(pairs); ++i) {
    const ImagePair& pair = pairs[static_cast<std::size_t>(i)];
    const std::string place = list.string() + ": line " + std::to_string(pair.line);
    writer.add(read_image_file(find_image(root, pair.first, place), scratch[0]),
               read_image_file(find_image(root, pair.second, place), scratch[1]), pair.same);
    progress(i + 1, std::ssize(pairs));
  }
  writer.commit();
}

}  // namespace pfc
