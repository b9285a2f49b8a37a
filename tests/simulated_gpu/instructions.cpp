// The instructions of kernels_cuda_instructions.h, with the layouts that the PTX ISA gives them.
#include "simulated_gpu/kernel_launch.h"

#include "head/kernels/kernels_cuda_instructions.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

namespace pfc::kernels::cuda {
namespace {

constexpr std::size_t kVector = 16;

std::span<std::byte> vector_at(unsigned shared) {
  const std::span<std::byte> memory = simulated_gpu::dynamic_shared();
  if (shared % kVector != 0 || shared + kVector > memory.size()) {
    std::fprintf(stderr, "16 bytes at %u of %zu bytes of shared memory\n", shared, memory.size());
    std::abort();
  }
  return memory.subspan(shared, kVector);
}

float number_of(std::uint64_t words, std::size_t place) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(words >> 16 * place) << 16);
}

}  // namespace

unsigned dynamic_shared() {
  return 0;
}

/// A GPU copies at any time until the wait. Here what lay there is lost at once, and what comes is
/// there after the wait.
void request_copy(unsigned to, const void* from, bool zeros) {
  if (!zeros && std::bit_cast<std::uintptr_t>(from) % kVector != 0) std::abort();
  const std::span<std::byte> target = vector_at(to);
  std::ranges::fill(target, std::byte{0xff});  // NaN
  simulated_gpu::requested_copies().back().push_back({target, zeros ? nullptr : from});
}

void end_copy_group() {
  simulated_gpu::requested_copies().emplace_back();
}

template <int kUnderWay>
void wait_for_copies() {
  auto& groups = simulated_gpu::requested_copies();
  while (groups.size() > kUnderWay + 1) {
    for (const simulated_gpu::Copy& copy : groups.front()) {
      if (copy.from == nullptr) {
        std::ranges::fill(copy.to, std::byte{});
      } else {
        std::memcpy(copy.to.data(), copy.from, kVector);
      }
    }
    groups.erase(groups.begin());
  }
}
template void wait_for_copies<0>();
template void wait_for_copies<1>();
template void wait_for_copies<2>();

FourBlocks load_blocks(unsigned row) {
  const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const simulated_gpu::ShownByWarp rows({row});
  FourBlocks loaded;
  for (unsigned block = 0; block < 4; ++block) {
    const auto from = vector_at(static_cast<unsigned>(rows[block * 8 + g][0]));
    std::memcpy(&loaded.words[block], from.data() + std::size_t{t} * 4, 4);
  }
  return loaded;
}

void multiply_add(Sums16x8& sums, const FourBlocks& a, unsigned b_left, unsigned b_right) {
  const auto pair = [](std::uint64_t low, std::uint64_t high) { return low | high << 32; };
  const simulated_gpu::ShownByWarp shown(
      {pair(a.words[0], a.words[1]), pair(a.words[2], a.words[3]), pair(b_left, b_right)});
  const unsigned lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  // Which of a lane's words belongs to a block of a or b, and the sums' rows and columns.
  for (unsigned down = 0; down < 2; ++down) {
    for (unsigned across = 0; across < 2; ++across) {
      float sum = 0;
      for (unsigned right = 0; right < 2; ++right) {
        for (unsigned k = 0; k < 8; ++k) {
          const std::uint64_t of_a = shown[g * 4 + k / 2][right] >> 32 * down,
                              of_b = shown[(2 * t + across) * 4 + k / 2][2] >> 32 * right;
          sum += number_of(of_a, k % 2) * number_of(of_b, k % 2);
        }
      }
      sums.values[2 * down + across] += sum;
    }
  }
}

float power_of_two(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0 : y;
}

}  // namespace pfc::kernels::cuda
