#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pfc {

/// Embeddings of images, one row each, with the images' names.
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
  /// Gives back the memory of what was read from a file.
  virtual void forget() const {}
};

/// A `.npy`, with the names of its rows, one a line, in the `.txt` beside it. `pfc embed` writes
/// both. Throws Error if one of them cannot be read, DataError if the rows and the lines differ in
/// number.
std::unique_ptr<Features> open_features(const std::filesystem::path& npy);
/// A `.npy` without names, for use with another list of `rows` lines that gives them.
std::unique_ptr<Features> open_features(const std::filesystem::path& npy, std::int64_t rows,
                                        const std::string& list);
/// Rows [count, dim] in memory.
std::unique_ptr<Features> make_features(std::vector<float> values, std::int64_t dim,
                                        std::vector<std::string> names);

/// Reads the rows `of` and divides each by its L2 norm: [of.size(), dim] into `out`. Rows of zeros
/// stay zeros: their cosine to anything is 0. Returns how many there were. Throws Error, naming the
/// row, if a value is not finite.
std::int64_t read_unit_rows(const Features& features, std::span<const std::int64_t> of,
                            std::span<float> out);

}  // namespace pfc
