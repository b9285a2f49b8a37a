#pragma once

#include <cstdint>

namespace pfc {

/// Gives the pages of a mapped file back whenever reading has mapped a certain number of them. So
/// reading a large file, in any order, does not fill the process's memory. `File` is a MappedFile
/// or a RecordReader.
template <class File>
class PagesRead {
 public:
  /// `file` must outlive this object.
  explicit PagesRead(const File& file) : file_(file) {}

  void read(std::uint64_t begin, std::uint64_t end) {
    mapped_ += end - begin + (begin == end_ ? 0 : kAround);
    end_ = end;
    if (mapped_ < kKept) return;
    file_.forget();
    mapped_ = 0;
  }

 private:
  static constexpr std::uint64_t kKept = std::uint64_t{64} << 20;
  static constexpr std::uint64_t kAround = std::uint64_t{64}
                                           << 10;  // the kernel maps so much around a page

  const File& file_;
  std::uint64_t end_ = 0;     // of the last that was read
  std::uint64_t mapped_ = 0;  // since pages were last given back
};

}  // namespace pfc
