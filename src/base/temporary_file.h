#pragma once

#include <filesystem>

namespace pfc {

// The temporary files of AtomicFile, NAME.tmp-MACHINE-RANDOM. Their writer holds a lock on them, by
// which others tell a file that is being written from one that a killed program left behind.

struct TemporaryFile {
  std::filesystem::path path;
  int descriptor = -1;  ///< open for reading and writing, locked where the file system has locks
};

/// A new file beside `target`; no process has the same, on this machine or on another one that
/// shares the folder. Throws IoError.
TemporaryFile create_temporary(const std::filesystem::path& target);

/// What is seen of a temporary file of somebody else.
struct SeenTemporary {
  enum class Lock { kTaken, kHeld, kNone };
  Lock lock;          ///< taken by us, held by a writer, or not to be had on this file system
  bool this_machine;  ///< it was made since this machine was started
  bool idle;          ///< not written for an hour
};
/// Whether it has no writer any more. A lock decides for this machine's. Other machines' locks are
/// not seen through every network file system: their files are left over when they are idle, too.
bool is_left_over(const SeenTemporary& seen);

/// Removes what is left over in a folder. `now` is a file that was made just now: its time is that
/// of the file server's clock. What cannot be looked at or removed stays.
void remove_left_over(const std::filesystem::path& folder, const TemporaryFile& now);

}  // namespace pfc
