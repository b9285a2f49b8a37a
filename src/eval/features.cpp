#include "pfc/eval/features.h"

#include <algorithm>
#include <utility>

#include "data/text_lines.h"
#include "eval/unit_rows.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/formats/npy.h"

namespace pfc {
namespace {

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string name = path.string();
  std::vector<std::string> names;
  for (Lines lines(file.bytes(), name); lines.next();) names.emplace_back(lines.line());
  return names;
}

class NpyFeatures final : public Features {
 public:
  explicit NpyFeatures(const std::filesystem::path& npy) : path_(npy.string()), rows_(npy) {}

  void name_rows(std::vector<std::string> names) { names_ = std::move(names); }

  std::int64_t count() const override { return rows_.rows(); }
  std::int64_t dim() const override { return rows_.columns(); }
  void read_row(std::int64_t i, std::span<float> values) const override {
    rows_.read_row(i, values);
  }
  std::string name(std::int64_t i) const override {
    return names_.empty() ? "row " + std::to_string(i) : names_[static_cast<std::size_t>(i)];
  }
  std::string place(std::int64_t i) const override {
    const std::string row = path_ + ": row " + std::to_string(i);
    return names_.empty() ? row : row + " (" + printable(name(i)) + ")";
  }
  void forget() const override { rows_.forget(); }

 private:
  std::string path_;
  NpyMatrix rows_;
  std::vector<std::string> names_;
};

class MemoryFeatures final : public Features {
 public:
  MemoryFeatures(std::vector<float> values, std::int64_t dim, std::vector<std::string> names)
      : values_(std::move(values)), dim_(dim), names_(std::move(names)) {}

  std::int64_t count() const override { return std::ssize(names_); }
  std::int64_t dim() const override { return dim_; }
  void read_row(std::int64_t i, std::span<float> values) const override {
    const auto row = std::span(values_).subspan(static_cast<std::size_t>(i * dim_), values.size());
    std::ranges::copy(row, values.begin());
  }
  std::string name(std::int64_t i) const override { return names_[static_cast<std::size_t>(i)]; }
  std::string place(std::int64_t i) const override { return printable(name(i)); }

 private:
  std::vector<float> values_;
  std::int64_t dim_;
  std::vector<std::string> names_;
};

void require_rows(const Features& features, const std::filesystem::path& npy, std::int64_t rows,
                  const std::string& list) {
  if (features.count() == rows) return;
  throw DataError(
      npy.string(), "header",
      counted(features.count(), "row") + ", but " + list + " has " + counted(rows, "line"));
}

}  // namespace

std::unique_ptr<Features> open_features(const std::filesystem::path& npy) {
  const auto list = std::filesystem::path(npy).replace_extension(".txt");
  auto features = std::make_unique<NpyFeatures>(npy);
  if (!std::filesystem::exists(list)) {
    throw Error(list.string() + ": not found, want the names of the rows of " + npy.string() +
                ", a line each, as `pfc embed` writes them");
  }
  std::vector<std::string> names = lines_of(list);
  require_rows(*features, npy, std::ssize(names), list.string());
  features->name_rows(std::move(names));
  return features;
}

std::unique_ptr<Features> open_features(const std::filesystem::path& npy, std::int64_t rows,
                                        const std::string& list) {
  auto features = std::make_unique<NpyFeatures>(npy);
  require_rows(*features, npy, rows, list);
  return features;
}

std::unique_ptr<Features> make_features(std::vector<float> values, std::int64_t dim,
                                        std::vector<std::string> names) {
  return std::make_unique<MemoryFeatures>(std::move(values), dim, std::move(names));
}

std::int64_t read_unit_rows(const Features& features, std::span<const std::int64_t> of,
                            std::span<float> out) {
  constexpr std::int64_t kRowsKept = 1 << 14;  // of a mapped file
  const auto dim = static_cast<std::size_t>(features.dim());
  std::int64_t zeros = 0, read = 0;
  for (std::size_t i = 0; i < of.size(); ++i) {
    const auto row = out.subspan(i * dim, dim);
    features.read_row(of[i], row);
    if (!normalise(row)) throw Error(features.place(of[i]) + ": a value that is not finite");
    zeros += std::ranges::all_of(row, [](float value) { return value == 0; });
    if (++read % kRowsKept == 0) features.forget();
  }
  return zeros;
}

}  // namespace pfc
