#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace pfc {

/// Writes scalars for TensorBoard: a file of records, each with a length, its checksum, an `Event`
/// message of TensorFlow's event.proto, and its checksum. A record is in the file when the call
/// returns.
class EventFile {
 public:
  /// Creates `events.out.tfevents.<seconds>.<host>` in `folder`. Throws Error if it cannot be
  /// written.
  explicit EventFile(const std::filesystem::path& folder);

  /// Notes that the run was resumed: what other files of the folder hold for steps from `step` on
  /// is void.
  void add_restart(std::int64_t step);
  void add_scalar(std::int64_t step, std::string_view tag, double value);

 private:
  void write_record(const std::string& event);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace pfc
