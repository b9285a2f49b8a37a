#include "train/output_folder.h"

#include <ATen/Functions.h>
#include <unistd.h>

#include <chrono>
#include <string>

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

fs::path prepare_output(const fs::path& output, Start start, Communicator& comm) {
  if (comm.is_first()) {
    if (start == Start::kAnew) refuse_earlier_run(output);
    std::error_code error;
    fs::create_directories(output, error);
    if (error) throw Error(output.string() + ": cannot be created: " + error.message());
  }
  if (comm.world() > 1) require_shared(output, comm);
  return output;
}

}  // namespace pfc
