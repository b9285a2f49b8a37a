#pragma once

#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Runs `work` on this rank, and returns when the work of every rank has ended, however long that
/// takes. All ranks call it together.
///
/// A collective waits for the other ranks for at most `train.timeout` seconds; a rank that does not
/// come by then counts as stuck. Work that may rightly take longer on one rank than on another
/// (building an index, writing a checkpoint, a share of a day's scores) goes through here.
/// Meanwhile the ranks meet in a small collective every tenth of a second. So a rank that is silent
/// ends the wait, and long work does not.
///
/// `work` must not call a collective. With several ranks it runs on a thread of its own, with the
/// caller's number of threads, GPU, stream and LibTorch modes. When `work` is over, throws what it
/// threw, or Error if another rank fell silent.
void long_work(Communicator& comm, const std::function<void()>& work);

/// The same for work that returns a result.
template <class Work, class Result = std::invoke_result_t<Work>>
requires(!std::is_void_v<Result>) Result long_work(Communicator& comm, const Work& work) {
  std::optional<Result> result;
  const std::function<void()> keep = [&] { result.emplace(work()); };
  long_work(comm, keep);
  return *std::move(result);
}

}  // namespace pfc
