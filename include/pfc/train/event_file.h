#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace pfc {

/// Scalars for TensorBoard: a file of records, each a length, its checksum, an `Event` message of
/// TensorFlow's event.proto, and its checksum. Every record is in the file when the call returns.
class EventFile {
 public:
  /// A new file `events.out.tfevents.<seconds>.<host>` in `folder`. Throws Error where it cannot be
  /// written.
  explicit EventFile(const std::filesystem::path& folder);

  /// Says that the run was taken up again: what other files of the folder hold from `step` on is
  /// void.
  void add_restart(std::int64_t step);
  void add_scalar(std::int64_t step, std::string_view tag, double value);

 private:
  void write_record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace pfc
