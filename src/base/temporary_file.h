#pragma once

#include <filesystem>

namespace pfc {

// The temporary files of AtomicFile, named NAME.tmp-MACHINE-RANDOM. The writer holds a lock on its
// file. By the lock others tell a file that is being written from one that a killed program left.

struct TemporaryFile {
  std::filesystem::path path;
  int descriptor = -1;  ///< open for reading and writing, locked if the file system has locks
};

/// Creates a new file beside `target`. No other process has the same one, on this machine or on
/// another machine that shares the folder. Throws IoError.
TemporaryFile create_temporary(const std::filesystem::path& target);

/// What can be seen of another process's temporary file.
struct SeenTemporary {
  enum class Lock { kTaken, kHeld, kNone };
  Lock lock;          ///< taken by us, held by a writer, or not supported by this file system
  bool this_machine;  ///< it was made on this machine since the machine was started
  bool idle;          ///< not written for an hour
};
/// Whether its writer is gone. On this machine the lock decides. Other machines' locks cannot be
/// seen through every network file system, so their files must also be idle.
bool is_left_over(const SeenTemporary& seen);

/// Removes left-over files of a folder. `now` is a file that was just made: its time tells the
/// clock of the file server. Files that cannot be examined or removed stay.
void remove_left_over(const std::filesystem::path& folder, const TemporaryFile& now);

}  // namespace pfc
