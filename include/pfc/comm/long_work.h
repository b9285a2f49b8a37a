#pragma once

#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "pfc/comm/communicator.h"

namespace pfc {

/// Runs `work` on this rank and returns when every rank's has ended, however long that takes; all
/// ranks call it together.
///
/// A collective waits for the other ranks for `train.timeout` seconds at most: who does not come
/// until then is stuck. So what may honestly take longer on one rank than on another (an index that
/// is built, a checkpoint that is written, a share of a day's scores) goes through here. While it
/// lasts, ranks meet in a collective every tenth of a second: the wait is ended by a rank that is
/// silent, not by work that is long.
///
/// `work` calls no collective. Where there are several ranks it runs on a thread of its own, as the
/// caller would run it: with its number of threads, its GPU and stream, its modes of LibTorch.
/// Throws what `work` throws, and Error where another rank falls silent, when `work` is over.
void long_work(Communicator& comm, const std::function<void()>& work);

/// The same of work that gives a result.
template <class Work, class Result = std::invoke_result_t<Work>>
requires(!std::is_void_v<Result>) Result long_work(Communicator& comm, const Work& work) {
  std::optional<Result> result;
  const std::function<void()> keep = [&] { result.emplace(work()); };
  long_work(comm, keep);
  return *std::move(result);
}

}  // namespace pfc
