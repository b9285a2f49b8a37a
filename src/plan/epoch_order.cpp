#include "plan/epoch_order.h"

#include <algorithm>

namespace pfc {

EpochOrder::EpochOrder(std::int64_t images, std::int64_t window, std::uint64_t seed,
                       std::int64_t epoch)
    : images_(images), window_(ceil_divide(window, kBlock) * kBlock), seed_(seed), epoch_(epoch) {
  const auto a = static_cast<std::uint64_t>(epoch);
  if (window == 0) {
    order_.emplace(images, CounterRandom(seed, RandomStream::kEpochOrder), a);
    return;
  }
  start_ = CounterRandom(seed, RandomStream::kFirstBlock).below(images, a, 0);
  block_order_.emplace(std::max<std::int64_t>(images / kBlock, 1),
                       CounterRandom(seed, RandomStream::kBlockOrder), a);
}

ImageRange EpochOrder::block(std::int64_t block) const {
  const bool whole = block < images_ / kBlock;
  const std::int64_t in_file = whole ? (*block_order_)(block) : block;
  return {(start_ + in_file * kBlock) % images_, whole ? kBlock : images_ % kBlock};
}

void EpochOrder::enter_window(std::int64_t window) {
  const std::int64_t places = std::min(window_, images_ - window * window_);
  const std::int64_t windows = ceil_divide(images_, window_);
  order_.emplace(places, CounterRandom(seed_, RandomStream::kWindowOrder),
                 static_cast<std::uint64_t>(epoch_ * windows + window));
  current_ = window;
}

std::int64_t EpochOrder::image(std::int64_t place) {
  if (!block_order_) return (*order_)(place);
  const std::int64_t window = place / window_;
  if (window != current_) enter_window(window);
  const std::int64_t mixed = window * window_ + (*order_)(place % window_);
  return (block(mixed / kBlock).first + mixed % kBlock) % images_;
}

}  // namespace pfc
