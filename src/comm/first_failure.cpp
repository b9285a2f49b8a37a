#include "comm/first_failure.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace pfc {

std::optional<RankFailure> first_failure(const std::string& sentence, Communicator& comm) {
  const at::Tensor lengths =
      comm.all_gather(at::full({1}, static_cast<std::int64_t>(sentence.size()), at::kLong)).wait();
  const auto* const length = lengths.const_data_ptr<std::int64_t>();
  const auto* const failed =
      std::find_if(length, length + comm.world(), [](std::int64_t each) { return each > 0; });
  if (failed == length + comm.world()) return std::nullopt;

  const at::Tensor mine = at::zeros({1, lengths.max().item<std::int64_t>()}, at::kByte);
  std::ranges::copy(sentence, mine.mutable_data_ptr<std::uint8_t>());
  const at::Tensor all = comm.all_gather(mine).wait();
  const auto rank = static_cast<int>(failed - length);
  const auto* const text = reinterpret_cast<const char*>(all[rank].const_data_ptr<std::uint8_t>());
  const std::string who = comm.world() > 1 ? "rank " + std::to_string(rank) + ": " : "";
  return RankFailure{rank, who + std::string(text, static_cast<std::size_t>(*failed))};
}

}  // namespace pfc
