#pragma once

#include <cstddef>  // for std::byte
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "pfc/base/files.h"

namespace pfc {

/// An AtomicFile behind a buffer, so that a record of a few kilobytes does not need its own system
/// call.
class BufferedFile {
 public:
  explicit BufferedFile(const std::filesystem::path& path) : file_(path) {}

  /// What is appended here is written by the next `settle`.
  std::vector<std::byte>& buffer() { return buffer_; }
  std::uint64_t size() const { return written_ + buffer_.size(); }
  void write(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    settle();
  }
  void settle() {
    if (buffer_.size() >= kBuffer) flush();
  }
  /// Overwrites bytes that exist already, settled or not.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (offset + bytes.size() > written_) flush();
    file_.write_at(offset, bytes);
  }
  void commit() {
    flush();
    file_.commit();
  }

 private:
  static constexpr std::size_t kBuffer = std::size_t{1} << 20;

  void flush() {
    file_.write(buffer_);
    written_ += buffer_.size();
    buffer_.clear();
  }

  AtomicFile file_;
  std::vector<std::byte> buffer_;
  std::uint64_t written_ = 0;
};

}  // namespace pfc
