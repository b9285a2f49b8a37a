#pragma once

#include <c10/core/Event.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace pfc {

/// `work` runs on this stream, after the current stream's earlier work and before its later work.
template <class Work>
void on_stream(const c10::cuda::CUDAStream& stream, const Work& work) {
  const c10::Stream outside = c10::cuda::getCurrentCUDAStream(stream.device_index()).unwrap();
  c10::Event before(at::kCUDA), after(at::kCUDA);
  before.record(outside);
  before.block(stream.unwrap());
  {
    const c10::cuda::CUDAStreamGuard here(stream);
    work();
  }
  after.record(stream.unwrap());
  after.block(outside);
}

}  // namespace pfc
