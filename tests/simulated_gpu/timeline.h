#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <utility>

namespace simulated_gpu {

/// The work on streams, each of which works in order, and how much of it is done.
class Timeline {
 public:
  using Work = std::function<void()>;

  void put(cudaStream_t stream, Work work) {
    streams_[stream].waiting.push_back({std::move(work), nullptr, 0});
  }
  /// Work that is put on `stream` from now on comes after the first `count` works of the other
  /// stream.
  void put_wait(cudaStream_t stream, cudaStream_t other, std::size_t count) {
    streams_[stream].waiting.push_back({nullptr, other, count});
  }
  /// How many works were put on it so far.
  std::size_t count(cudaStream_t stream) { return streams_[stream].end(); }
  bool is_done(cudaStream_t stream, std::size_t count) { return streams_[stream].done >= count; }

  /// Does the stream's first `count` works, and those works of other streams that it waits for:
  /// nothing else.
  void advance(cudaStream_t stream, std::size_t count) {
    Stream& of = streams_[stream];
    while (of.done < count) {
      const Item item = std::move(of.waiting.front());
      of.waiting.pop_front();
      ++of.done;
      item.work ? item.work() : advance(item.other, item.count);
    }
  }
  void advance(cudaStream_t stream) { advance(stream, count(stream)); }
  /// Does a little work of some stream.
  template <class Random>
  void advance_some(Random& random) {
    constexpr std::size_t kMost = 4;
    const auto some = std::next(streams_.begin(), static_cast<long>(random() % streams_.size()));
    advance(some->first, std::min(some->second.end(), some->second.done + 1 + random() % kMost));
  }
  void advance_all() {
    for (const auto& [stream, work] : streams_) advance(stream);
  }

 private:
  struct Item {
    Work work;
    cudaStream_t other;
    std::size_t count;
  };
  struct Stream {
    std::deque<Item> waiting;
    std::size_t done = 0;
    std::size_t end() const { return done + waiting.size(); }
  };
  std::map<cudaStream_t, Stream> streams_;
};

}  // namespace simulated_gpu
