#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct archive;

namespace pfc {

/// Whether a file's name has the ending of a tar, gzipped or not.
bool is_tar_name(const std::filesystem::path& path);
/// The tars of a folder that is a set in tars, in the order of their names. Empty if there are
/// folders beside them, because those are the people's. Throws IoError.
std::vector<std::filesystem::path> shards_in(const std::filesystem::path& folder);

/// Reads a tar from start to end, gzipped or not, with libarchive.
class TarReader {
 public:
  TarReader(TarReader&&) noexcept;
  TarReader& operator=(TarReader&&) noexcept;
  ~TarReader();
  /// Throws DataError if it is not a tar.
  static TarReader open(const std::string& path);
  /// The same from memory that outlives the reader; `name` stands for it in messages.
  static TarReader parse(std::span<const std::byte> bytes, const std::string& name);

  /// The same from bytes that `read` returns piece by piece; an empty piece is the end. Exceptions
  /// of `read` pass through the reading functions.
  static TarReader stream(std::function<std::span<const std::byte>()> read,
                          const std::string& name);

  /// The next entry that is a file, by its path; no value at the end. Throws DataError.
  std::optional<std::string> next();
  /// Appends its content to `out`. Throws DataError if it has more than `most` bytes.
  void read(std::size_t most, std::vector<std::byte>& out);
  /// Some of its content, valid until the next call; empty at its end.
  std::span<const std::byte> read_some();
  /// Bytes of the tar file itself.
  std::int64_t bytes_read() const;

 private:
  struct Free {
    void operator()(archive* a) const;
  };

  struct Input;

  explicit TarReader(std::string name);
  [[noreturn]] void fail() const;

  std::string name_;
  std::unique_ptr<Input> input_;  ///< the archive knows its address
  std::string entry_;
  std::unique_ptr<archive, Free> archive_;
};

}  // namespace pfc
