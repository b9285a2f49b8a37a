#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// Embeddings of images, a row each, with the images' names.
class Features {
 public:
  virtual ~Features() = default;

  virtual std::int64_t count() const = 0;
  virtual std::int64_t dim() const = 0;
  /// values [dim], as the network gave them.
  virtual void read_row(std::int64_t i, std::span<float> values) const = 0;
  virtual std::string name(std::int64_t i) const = 0;
  /// Where a row comes from, for messages: `a.npy: row 7 (x.jpg)`.
  virtual std::string place(std::int64_t i) const = 0;
  /// Gives back the memory of what was read, where it is a file's.
  virtual void forget() const {}
};

/// A `.npy`, and the names of its rows, a line each, in the `.txt` beside it, as `pfc embed` writes
/// both. Throws Error where one of them cannot be read, DataError where they do not have as many
/// rows as lines.
std::unique_ptr<Features> open_features(const std::filesystem::path& npy);
/// Without names, where another list of `rows` lines tells them.
std::unique_ptr<Features> open_features(const std::filesystem::path& npy, std::int64_t rows,
                                        const std::string& list);
/// Rows [count, dim] in memory.
std::unique_ptr<Features> make_features(std::vector<float> values, std::int64_t dim,
                                        std::vector<std::string> names);

/// Rows `of` of them, each divided by its L2 norm: [of.size(), dim] into `out`. Returns how many
/// were all zeros, which stay zeros: their cosine to anything is 0. Throws Error, naming the row,
/// where a value is not finite.
std::int64_t read_unit_rows(const Features& features, std::span<const std::int64_t> of,
                            std::span<float> out);

}  // namespace pfc
