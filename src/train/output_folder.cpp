#include "train/output_folder.h"

#include <ATen/Functions.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/paths.h"
#include "pfc/base/progress.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

void refuse_earlier_run(const fs::path& output) {
  for (const fs::path& left :
       {checkpoints_in(output), output / "last.safetensors", output / "best.safetensors"}) {
    if (!is_there(left)) continue;
    throw Error(output.string() + ": holds an earlier run (" + left.filename().string() +
                "); continue it with --resume, or choose another folder with --set output=FOLDER");
  }
}

/// A job that was queued again may start while the one before is still saving. The lock ends with
/// the process, however that ends. It is on a file that is open for writing, as NFS requires.
int lock(const fs::path& output) {
  const fs::path file = output / ".lock";
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) throw IoError(file, "open for writing", errno);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  const int error = errno;
  if (error == EWOULDBLOCK || error == EACCES) {
    ::close(descriptor);
    throw Error(output.string() +
                ": another run is writing to it; wait until that has ended, or choose another "
                "folder with --set output=FOLDER");
  }
  tell(file.string() + " cannot be locked (" + std::strerror(error) +
       "): make sure that no other run writes to this folder");
  return descriptor;
}

/// The first rank writes a file there that the others must find.
void require_shared(const fs::path& output, Communicator& comm) {
  at::Tensor number = at::scalar_tensor(
      std::chrono::system_clock::now().time_since_epoch().count() ^ ::getpid(), at::kLong);
  comm.broadcast(number).wait();
  const fs::path file = output / (".shared-" + std::to_string(number.item<std::int64_t>()));
  if (comm.is_first()) write_file(file, "a run is starting\n");
  comm.barrier();
  const bool found = is_there(file);
  const at::Tensor all = comm.all_gather(at::full({1}, found ? 1 : 0, at::kLong)).wait();
  if (comm.is_first()) fs::remove(file);
  for (std::int64_t rank = 0; rank < comm.world(); ++rank) {
    if (all[rank].item<std::int64_t>() != 0) continue;
    throw Error(
        output.string() + ": rank " + std::to_string(rank) +
        " does not see the first rank's folder of this name; checkpoints need one on a file "
        "system that all machines share");
  }
}

}  // namespace

fs::path checkpoints_in(const fs::path& output) {
  return output / "checkpoints";
}

void require_nothing_to_lose(const fs::path& output) {
  for (const char* name : {"best.safetensors", "last.safetensors", "metrics.jsonl"}) {
    const fs::path file = output / name;
    if (!is_there(file) || fs::file_size(file) == 0) continue;
    throw Error(output.string() + ": holds " + name +
                " of an earlier run, but no checkpoint to continue from; bring its checkpoints "
                "back, remove what is there, or choose another folder with --set output=FOLDER");
  }
}

OutputFolder::OutputFolder(fs::path path, Start start, Communicator& comm)
    : path_(std::move(path)) {
  if (comm.is_first()) {
    if (start == Start::kAnew) refuse_earlier_run(path_);
    std::error_code error;
    if (!is_folder(path_)) fs::create_directories(path_, error);
    if (error) throw Error(path_.string() + ": cannot be created: " + error.message());
  }
  if (comm.world() > 1) require_shared(path_, comm);
  if (comm.is_first()) lock_ = lock(path_);
}

OutputFolder::~OutputFolder() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace pfc
