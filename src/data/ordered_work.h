#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace pfc {

/// `take(i, make(i))` for every i in [0, count): `make` on `threads` threads at once, `take` on
/// this one, in order. Holds one block of what was made. What either throws is thrown here.
template <class Make, class Take>
void ordered_work(std::int64_t count, int threads, const Make& make, const Take& take) {
  constexpr std::int64_t kBlock = 256;
  using Made = decltype(make(std::int64_t{}));
  for (std::int64_t first = 0; first < count; first += kBlock) {
    std::vector<Made> made(static_cast<std::size_t>(std::min(kBlock, count - first)));
    std::vector<std::exception_ptr> failures(made.size());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next++; i < made.size(); i = next++) {
        try {
          made[i] = make(first + static_cast<std::int64_t>(i));
        } catch (...) {
          failures[i] = std::current_exception();
        }
      }
    };
    {
      std::vector<std::jthread> others;  // joined at the end of the scope
      for (int thread = 1; thread < threads; ++thread) others.emplace_back(work);
      work();
    }
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (failures[i]) std::rethrow_exception(failures[i]);
      take(first + static_cast<std::int64_t>(i), std::move(made[i]));
    }
  }
}

}  // namespace pfc
