#pragma once

#include <cstddef>  // for std::byte
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pfc/data/face_stream.h"

struct archive;

namespace pfc {

/// A tar that is read from its start to its end, gzipped or not, by libarchive.
class TarReader {
 public:
  /// Throws DataError where it is no tar.
  static TarReader open(const std::string& path);
  /// The same from memory that outlives the reader; `name` stands for it in messages.
  static TarReader parse(std::span<const std::byte> bytes, const std::string& name);

  /// The next entry that is a file, by its path; no value at the end. Throws DataError.
  std::optional<std::string> next();
  /// Its content, appended to `out`. Throws DataError where there is more than `most` bytes.
  void read(std::size_t most, std::vector<std::byte>& out);
  /// Some of its content, valid until the next call; empty at its end.
  std::span<const std::byte> read_some();
  /// Of the file itself.
  std::int64_t bytes_read() const;

 private:
  struct Free {
    void operator()(archive* a) const;
  };

  explicit TarReader(std::string name);
  [[noreturn]] void fail() const;

  std::string name_;
  std::string entry_;
  std::unique_ptr<archive, Free> archive_;
};

/// WebDataset samples of one tar after another.
class TarSource final : public FaceSource {
 public:
  /// Opens the i-th shard, or gives no value after the last. `total_bytes` of all.
  using Open = std::function<std::optional<TarReader>(std::size_t)>;
  TarSource(Open open, std::int64_t total_bytes);

  bool next(Face& face) override;
  StreamProgress progress() const override;
  std::string passed_over() const override;

 private:
  struct Sample {
    std::string name;  ///< path up to the first dot of its file
    std::vector<std::byte> image;
    std::optional<std::int64_t> identity;
    bool has_image = false;
  };

  bool open_next();
  void take(const std::string& path);
  bool finish();
  bool give(Face& face);

  Open open_;
  std::int64_t total_bytes_, bytes_before_ = 0;
  std::size_t shards_ = 0;
  std::optional<TarReader> tar_;
  Sample sample_;
  std::optional<std::string> pending_;  ///< a file of the next sample, not read yet
  Sample given_;
  std::int64_t others_ = 0;  ///< files of other kinds
};

}  // namespace pfc
