#include "pfc/data/pairs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "data/image_file.h"
#include "data/missing_files.h"
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

using Fields = std::vector<std::string_view>;

/// "NAME I J" or "NAME1 I NAME2 J".
std::optional<ImagePair> named_pair(const Fields& f) {
  if (f.size() != 3 && f.size() != 4) return std::nullopt;
  const auto first = whole_number<std::int32_t>(f[1]),
             second = whole_number<std::int32_t>(f.back());
  if (!first || !second || whole_number<std::int32_t>(f[0])) return std::nullopt;
  const bool same = f.size() == 3;
  return ImagePair{lfw_path(f[0], *first), lfw_path(same ? f[0] : f[2], *second), same};
}

/// Whether "1", "0", "-1", "True" or "False" says that a pair shows one person.
std::optional<bool> flag_in(std::string_view field) {
  std::string text(field);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  if (text == "1" || text == "true" || text == "1.0") return true;
  if (text == "0" || text == "false" || text == "-1" || text == "0.0") return false;
  return std::nullopt;
}

/// "PATH1 PATH2 SAME", or "SAME PATH1 PATH2".
std::optional<ImagePair> listed_pair(const Fields& f) {
  if (f.size() != 3) return std::nullopt;
  if (const auto same = flag_in(f[2]))
    return ImagePair{std::string(f[0]), std::string(f[1]), *same};
  if (const auto same = flag_in(f[0]))
    return ImagePair{std::string(f[1]), std::string(f[2]), *same};
  return std::nullopt;
}

/// "PATH SAME", a line for each image of a pair, as in CALFW and CPLFW. In CALFW's pairs of one
/// person, SAME is the number of the fold.
struct HalfPair {
  std::string path;
  bool same = false;
};

std::optional<HalfPair> half_pair(const Fields& f) {
  if (f.size() != 2 || whole_number<std::int32_t>(f[0])) return std::nullopt;
  const auto fold = whole_number<std::int32_t>(f[1]);
  const auto same = fold ? std::optional(*fold != 0) : flag_in(f[1]);
  if (!same) return std::nullopt;
  return HalfPair{std::string(f[0]), *same};
}

/// Calls `parse` with the fields of a line, separated by tabs, commas or spaces.
template <class Parse>
auto parse_fields(std::string_view line, const Parse& parse) {
  for (const char separator : {'\t', ',', ' '}) {
    if (line.find(separator) == line.npos) continue;
    if (auto result = parse(split(line, separator))) return result;
  }
  return decltype(parse(Fields())){};
}

constexpr const char* kWantedPairs =
    "\"PATH1 PATH2 SAME\" with 1 or 0 for SAME, LFW's \"FOLDS PAIRS\" and then \"NAME I J\" and "
    "\"NAME1 I NAME2 J\", or CALFW's \"PATH SAME\" for each image of a pair";

/// LFW's list, after the first line with the numbers of folds and pairs.
std::vector<ImagePair> folds_of_pairs(Lines& lines, std::int64_t folds, std::int64_t pairs) {
  std::vector<ImagePair> result;
  const std::int64_t total = 2 * folds * pairs;
  while (lines.next()) {
    const auto i = std::ssize(result);
    if (i == total) lines.fail("an end after " + counted(total, "pair"));
    const bool same = i / pairs % 2 == 0;
    auto pair = parse_fields(lines.line(), named_pair);
    if (!pair || pair->same != same) lines.fail(same ? "\"NAME I J\"" : "\"NAME1 I NAME2 J\"");
    pair->line = lines.number();
    result.push_back(std::move(*pair));
  }
  if (std::ssize(result) != total) {
    lines.fail(counted(total, "pair") + ", the first line says, and this is the last of " +
               grouped(std::ssize(result)));
  }
  return result;
}

/// One pair a line, beginning with the current line.
template <class Parse>
std::vector<ImagePair> pairs_of_lines(Lines& lines, const Parse& parse, const char* want) {
  std::vector<ImagePair> result;
  do {
    auto pair = parse_fields(lines.line(), parse);
    if (!pair) lines.fail(want);
    pair->line = lines.number();
    result.push_back(std::move(*pair));
  } while (lines.next());
  return result;
}

/// Two lines for each pair, beginning with the current line.
std::vector<ImagePair> pairs_of_halves(Lines& lines) {
  std::vector<ImagePair> result;
  do {
    const auto first = parse_fields(lines.line(), half_pair);
    if (!first) lines.fail("\"PATH SAME\"");
    if (!lines.next()) lines.fail("a line for the second image of the pair after it");
    const auto second = parse_fields(lines.line(), half_pair);
    if (!second || second->same != first->same)
      lines.fail("\"PATH SAME\" with SAME as in the line before, which has the pair's first image");
    result.push_back({first->path, second->path, first->same, lines.number() - 1});
  } while (lines.next());
  return result;
}

/// Reads the list from the current line on, by the form of that line; nothing if the form is
/// unknown.
std::optional<std::vector<ImagePair>> pairs_from(Lines& lines) {
  const std::string_view line = lines.line();
  if (parse_fields(line, named_pair))
    return pairs_of_lines(lines, named_pair, "\"NAME I J\" or \"NAME1 I NAME2 J\"");
  if (parse_fields(line, listed_pair))
    return pairs_of_lines(lines, listed_pair, "\"PATH1 PATH2 SAME\", SAME 1 or 0");
  if (parse_fields(line, half_pair)) return pairs_of_halves(lines);
  return std::nullopt;
}

}  // namespace

std::vector<ImagePair> parse_pairs(std::span<const std::byte> text, const std::string& name) {
  Lines lines(text, name);
  if (!lines.next()) throw DataError(name, "whole file", "no pairs");
  const Fields f =
      split(lines.line(), lines.line().find('\t') == std::string_view::npos ? ' ' : '\t');
  if (const auto pairs = f.size() <= 2 ? whole_number<std::int32_t>(f.back()) : std::nullopt) {
    const auto folds = f.size() == 2 ? whole_number<std::int32_t>(f[0]) : std::optional(1);
    if (folds && *folds > 0 && *pairs > 0) return folds_of_pairs(lines, *folds, *pairs);
  }
  if (auto pairs = pairs_from(lines)) return *pairs;
  const Lines first = lines;  // the line of column names, if the next line has a known form
  if (!lines.next() || first.line().find_first_of(",\t") == std::string_view::npos)
    first.fail(kWantedPairs);
  if (auto pairs = pairs_from(lines)) return *pairs;
  first.fail(kWantedPairs);
}

void pack_pairs(const fs::path& list, const fs::path& root, const fs::path& out,
                const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  const std::vector<ImagePair> pairs = parse_pairs(MappedFile(list).bytes(), list.string());
  std::vector<std::array<fs::path, 2>> files;
  MissingFiles missing;
  for (const ImagePair& pair : pairs) {
    files.push_back({find_image(root / pair.first), find_image(root / pair.second)});
    if (files.back()[0].empty()) missing.add((root / pair.first).string(), pair.line);
    if (files.back()[1].empty()) missing.add((root / pair.second).string(), pair.line);
  }
  missing.check(list.string(), 2 * std::ssize(pairs), root.string());
  VerificationSetWriter writer(out);
  std::array<std::vector<std::byte>, 2> scratch;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    writer.add(read_image_file(files[i][0], scratch[0]), read_image_file(files[i][1], scratch[1]),
               pairs[i].same);
    progress(static_cast<std::int64_t>(i) + 1, std::ssize(pairs));
  }
  writer.commit();
}

}  // namespace pfc
