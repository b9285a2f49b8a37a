#include "train/output_folder.h"

#include <ATen/Functions.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <utility>

#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

void refuse_earlier_run(const fs::path& output) {
  for (const fs::path& left : {checkpoints_in(output), output / "last.safetensors"}) {
    if (!fs::exists(left)) continue;
    throw Error(output.string() + ": holds an earlier run (" + left.filename().string() +
                "); go on with it by --resume, or name another folder with --set output=FOLDER");
  }
}

/// A job that was put into the queue again may start while the one before still saves. The lock
/// goes with the process, however it ends; a file system without locks has none.
int lock(const fs::path& output) {
  const int folder = ::open(output.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0 && ::flock(folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(folder);
    throw Error(output.string() +
                ": another run is writing to it; wait until that has ended, or name another folder "
                "with --set output=FOLDER");
  }
  return folder;
}

/// The first rank leaves a file there that the others must find.
void require_shared(const fs::path& output, Communicator& comm) {
  at::Tensor number = at::scalar_tensor(
      std::chrono::system_clock::now().time_since_epoch().count() ^ ::getpid(), at::kLong);
  comm.broadcast(number).wait();
  const fs::path file = output / (".shared-" + std::to_string(number.item<std::int64_t>()));
  if (comm.is_first()) write_file(file, "a run is starting\n");
  comm.barrier();
  const bool found = fs::exists(file);
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

OutputFolder::OutputFolder(fs::path path, Start start, Communicator& comm)
    : path_(std::move(path)) {
  if (comm.is_first()) {
    if (start == Start::kAnew) refuse_earlier_run(path_);
    std::error_code error;
    fs::create_directories(path_, error);
    if (error) throw Error(path_.string() + ": cannot be created: " + error.message());
  }
  if (comm.world() > 1) require_shared(path_, comm);
  if (comm.is_first()) lock_ = lock(path_);
}

OutputFolder::~OutputFolder() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace pfc
